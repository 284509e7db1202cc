package pods

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// EnvAnnotation says what becomes of the environment of a container, since a unikernel has none:
// with EnvAsOptions, HTTP_PORT=80 becomes the argument --http-port=80. Without it each variable must
// be used in command or args, as $(HTTP_PORT).
const (
	EnvAnnotation = "albatross/env"
	EnvAsOptions  = "options"
)

// A variable is one of the environment.
type variable struct{ name, value string }

// ConfigMapsOf returns the names of the ConfigMaps that the environment of a pod is made of.
func ConfigMapsOf(pod *corev1.Pod) (names []string) {
	for i := range pod.Spec.Containers {
		for _, from := range pod.Spec.Containers[i].EnvFrom {
			if from.ConfigMapRef != nil {
				names = append(names, from.ConfigMapRef.Name)
			}
		}
		for _, e := range pod.Spec.Containers[i].Env {
			if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
				names = append(names, e.ValueFrom.ConfigMapKeyRef.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// arguments returns the arguments of the unikernel.
func arguments(pod *corev1.Pod, maps map[string]map[string]string) (argv []string, err error) {
	container := &pod.Spec.Containers[0]
	environment, err := environmentOf(pod, container, maps)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, word := range append(slices.Clone(container.Command), container.Args...) {
		argv = append(argv, expand(word, environment, used))
	}
	switch how, given := pod.Annotations[EnvAnnotation]; {
	case !given:
		return argv, unused(environment, used)
	case how != EnvAsOptions:
		return nil, fmt.Errorf("the annotation %s is %q: only %q is known", EnvAnnotation, how, EnvAsOptions)
	}
	for _, v := range environment {
		if !used[v.name] {
			argv = append(argv, "--"+strings.ToLower(strings.ReplaceAll(v.name, "_", "-"))+"="+v.value)
		}
	}
	return argv, nil
}

// unused refuses variables that the unikernel would not notice.
func unused(environment []variable, used map[string]bool) error {
	for _, v := range environment {
		if !used[v.name] {
			return fmt.Errorf("the variable %s would have no effect: a unikernel has no environment; use it in args as $(%s), or make options of all by the annotation %s: %s",
				v.name, v.name, EnvAnnotation, EnvAsOptions)
		}
	}
	return nil
}

// environmentOf returns the environment; a later variable replaces an earlier one of its name.
func environmentOf(pod *corev1.Pod, container *corev1.Container, maps map[string]map[string]string) (list []variable, err error) {
	set := func(name, value string) {
		if i := slices.IndexFunc(list, func(v variable) bool { return v.name == name }); i >= 0 {
			list[i].value = value
			return
		}
		list = append(list, variable{name, value})
	}
	for _, from := range container.EnvFrom {
		if err := wholeMap(from, maps, set); err != nil {
			return nil, err
		}
	}
	for _, e := range container.Env {
		value, absent, err := valueOf(pod, e, maps)
		if err != nil {
			return nil, fmt.Errorf("the variable %s is not possible: %w", e.Name, err)
		}
		if !absent {
			set(e.Name, expand(value, list, map[string]bool{}))
		}
	}
	return list, nil
}

func wholeMap(from corev1.EnvFromSource, maps map[string]map[string]string, set func(name, value string)) error {
	ref := from.ConfigMapRef
	if ref == nil {
		return errors.New("an environment from a Secret is not possible: everybody on the host can read arguments")
	}
	contents, exists := maps[ref.Name]
	if !exists && (ref.Optional == nil || !*ref.Optional) {
		return &MissingError{fmt.Sprintf("there is no ConfigMap %s", ref.Name)}
	}
	names := make([]string, 0, len(contents))
	for name := range contents {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		set(from.Prefix+name, contents[name])
	}
	return nil
}

// valueOf returns the value of a variable. Absent says that it is optional, and not there.
func valueOf(pod *corev1.Pod, e corev1.EnvVar, maps map[string]map[string]string) (value string, absent bool, err error) {
	switch from := e.ValueFrom; {
	case from == nil:
		return e.Value, false, nil
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		value, exists := maps[ref.Name][ref.Key]
		if !exists && (ref.Optional == nil || !*ref.Optional) {
			return "", false, &MissingError{fmt.Sprintf("there is no key %s in a ConfigMap %s", ref.Key, ref.Name)}
		}
		return value, !exists, nil
	case from.FieldRef != nil:
		value, err := field(pod, from.FieldRef.FieldPath)
		return value, false, err
	case from.SecretKeyRef != nil:
		return "", false, errors.New("everybody on the host can read arguments, so that a Secret is none in them")
	}
	return "", false, errors.New("it is from something else than a ConfigMap or the metadata of the pod")
}

// field returns a field of the pod that is known before it runs.
func field(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	}
	if kind, rest, found := strings.Cut(path, "['"); found && strings.HasSuffix(rest, "']") {
		key := strings.TrimSuffix(rest, "']")
		switch kind {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
	}
	return "", fmt.Errorf("the field %s is not known before a unikernel runs", path)
}

// expand replaces each $(NAME) by the variable of that name, if there is one, and $$ by $. It notes
// which are used.
func expand(text string, environment []variable, used map[string]bool) string {
	var out strings.Builder
	for {
		start := strings.IndexByte(text, '$')
		if start < 0 || start == len(text)-1 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:start])
		text = text[start:]
		value, length := reference(text, environment, used)
		out.WriteString(value)
		text = text[length:]
	}
}

// reference returns what the beginning of a text that begins with $ stands for, and its length.
func reference(text string, environment []variable, used map[string]bool) (value string, length int) {
	if text[1] == '$' {
		return "$", 2
	}
	end := strings.IndexByte(text, ')')
	if text[1] != '(' || end < 0 {
		return "$", 1
	}
	name := text[2:end]
	i := slices.IndexFunc(environment, func(v variable) bool { return v.name == name })
	if i < 0 {
		return text[:end+1], end + 1
	}
	used[name] = true
	return environment[i].value, end + 1
}

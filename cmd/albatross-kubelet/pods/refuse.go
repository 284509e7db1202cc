package pods

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// refuse returns why a pod is not possible as a unikernel, of what concerns the pod as a whole and
// is not translated. What Kubernetes gives to each pod is not refused: a token of the service
// account, a DNS policy.
func refuse(pod *corev1.Pod) error {
	spec := &pod.Spec
	switch {
	case len(spec.Containers) != 1:
		return fmt.Errorf("%d containers are not possible: a unikernel is one", len(spec.Containers))
	case len(spec.InitContainers) > 0:
		return errors.New("init containers are not possible: a unikernel is one container")
	case len(spec.EphemeralContainers) > 0:
		return errors.New("ephemeral containers are not possible: a unikernel is one container")
	case spec.HostNetwork:
		return errors.New("hostNetwork is not possible: a unikernel is on networks of its own; publish ports by hostPort")
	case spec.HostPID, spec.HostIPC, spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace:
		return fmt.Errorf("hostPID, hostIPC and shareProcessNamespace are not possible: %w", errProcess)
	case len(spec.HostAliases) > 0:
		return errors.New("hostAliases are not possible: a unikernel has no files")
	case spec.DNSConfig != nil:
		return errors.New("dnsConfig is not possible: give a unikernel its resolvers as arguments")
	}
	return refuseContainer(&spec.Containers[0])
}

func refuseContainer(c *corev1.Container) error {
	switch {
	case c.Image == "":
		return errors.New("an image is needed")
	case c.Lifecycle != nil:
		return fmt.Errorf("lifecycle hooks are not possible: %w to run in it", errProcess)
	case c.Stdin, c.TTY:
		return errors.New("stdin and tty are not possible: a unikernel reads nothing from its console")
	case c.WorkingDir != "":
		return errors.New("workingDir is not possible: a unikernel has no files")
	case c.RestartPolicy != nil:
		return errors.New("a restartPolicy of the container is not possible: set that of the pod")
	case len(c.Resources.Claims) > 0:
		return errors.New("resource claims are not possible: a unikernel has memory, one CPU, networks and block devices")
	case privileged(c.SecurityContext):
		return errors.New("privileges of the host are not possible in a unikernel: leave privileged and added capabilities out")
	}
	if err := checkProbes(c); err != nil {
		return err
	}
	return checkCPU(c.Resources)
}

func privileged(s *corev1.SecurityContext) bool {
	switch {
	case s == nil:
		return false
	case s.Privileged != nil && *s.Privileged:
		return true
	}
	return s.Capabilities != nil && len(s.Capabilities.Add) > 0
}

package provider

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// An impossibleError says what is not possible as a unikernel, whenever it is tried.
type impossibleError struct{ error }

// plan returns the unikernel that a pod asks for.
func (p *Provider) plan(ctx context.Context, pod *corev1.Pod) (plan pods.Plan, err error) {
	around := pods.Around{ConfigMaps: map[string]map[string]string{}, Claims: map[string]messages.Name{}}
	for _, name := range pods.ConfigMapsOf(pod) {
		contents, err := p.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err): // it may be optional
		case err != nil:
			return plan, fmt.Errorf("cannot read the ConfigMap %s: %w", name, err)
		default:
			around.ConfigMaps[name] = contents.Data
		}
	}
	for _, name := range pods.ClaimsOf(pod) {
		if around.Claims[name], err = p.blockOf(ctx, pod.Namespace, name); err != nil {
			return plan, err
		}
	}
	plan, err = pods.Read(pod, around, p.Settings)
	if err == nil {
		return plan, nil
	}
	if _, missing := err.(*pods.MissingError); missing {
		return plan, err
	}
	return plan, &impossibleError{err}
}

// blockOf returns the block device of a claim.
func (p *Provider) blockOf(ctx context.Context, namespace, claim string) (messages.Name, error) {
	c, err := p.Client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, claim, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && (c.Status.Phase != corev1.ClaimBound || c.Spec.VolumeName == ""):
		return messages.Name{}, pods.Missing("the claim " + claim + " is not bound to a volume")
	case err != nil:
		return messages.Name{}, fmt.Errorf("cannot read the claim %s: %w", claim, err)
	}
	volume, err := p.Client.CoreV1().PersistentVolumes().Get(ctx, c.Spec.VolumeName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return messages.Name{}, pods.Missing("there is no volume " + c.Spec.VolumeName)
	case err != nil:
		return messages.Name{}, fmt.Errorf("cannot read the volume %s: %w", c.Spec.VolumeName, err)
	}
	name, err := pods.BlockOf(p.Settings.Path, volume)
	if err != nil {
		return name, &impossibleError{err}
	}
	return name, nil
}

package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// destroy destroys the unikernel of a pod, or of an earlier pod of its name, and has the pod looked at
// again.
func (p *Provider) destroy(ctx context.Context, pod *corev1.Pod, name messages.Name, step pods.Step) error {
	key := pods.Key(pod)
	if step == pods.Clear {
		if _, err := p.abandoned(ctx, key, name); err != nil {
			return err
		}
	} else {
		p.Events.Event(pod, corev1.EventTypeNormal, "Killing", "the unikernel "+name.String()+" is destroyed")
		if err := p.Host.Destroy(ctx, name); err != nil {
			return fmt.Errorf("cannot destroy its unikernel: %w", err)
		}
	}
	p.queue.Add(key)
	return nil
}

// finish shows how a pod has ended that is deleted, and lets it go.
func (p *Provider) finish(ctx context.Context, pod *corev1.Pod, name messages.Name, seen pods.Seen, d pods.Decision) error {
	p.setProblem(pod.UID, nil)
	if err := p.removeScratchOf(ctx, pod, name); err != nil {
		return err
	}
	if !pods.Terminal(pod) {
		if _, err := p.write(ctx, pod, pods.Status(pod, p.view(pod, seen, d))); err != nil {
			return err
		}
	}
	return p.letGo(ctx, pod)
}

// letGo removes a pod that is deleted from the API server: nothing of it is left here.
func (p *Provider) letGo(ctx context.Context, pod *corev1.Pod) error {
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
	err := p.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, now)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cannot let it go: %w", err)
	}
	return nil
}

// abandoned removes the unikernel of a name, if it is that of a pod that does not exist any more. What
// we remember of the API server may be old or belong to another node: so it is asked for that very
// pod, and any other answer than that it is gone removes nothing.
func (p *Provider) abandoned(ctx context.Context, key types.NamespacedName, name messages.Name) (again time.Duration, err error) {
	if name == (messages.Name{}) {
		return 0, nil
	}
	seen, err := p.look(ctx, name)
	if err != nil || !seen.Exists || !seen.Ours {
		return 0, err
	}
	gone, err := p.gone(ctx, key, seen.Owner.UID)
	if err != nil {
		return 0, err
	}
	if !gone {
		return lookAgain, nil
	}
	p.Log.Info("The pod of a unikernel is gone", "pod", key.String(), "uid", seen.Owner.UID)
	if err := p.Host.Destroy(ctx, name); err != nil {
		return 0, fmt.Errorf("cannot destroy the unikernel of a pod that is gone: %w", err)
	}
	p.setProblem(seen.Owner.UID, nil)
	return 0, nil
}

// gone reports whether the API server knows for certain that a pod does not exist any more.
func (p *Provider) gone(ctx context.Context, key types.NamespacedName, uid types.UID) (bool, error) {
	pod, err := p.Client.CoreV1().Pods(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("cannot ask whether the pod of a unikernel exists: %w", err)
	}
	return pod.UID != uid, nil
}

// removeScratchOf removes the block devices that were made for a pod.
func (p *Provider) removeScratchOf(ctx context.Context, pod *corev1.Pod, name messages.Name) (failed error) {
	owner := scratchOwner(pods.Owner{Cluster: p.Cluster, UID: pod.UID}).String()
	for _, s := range pods.ScratchOf(pod, name) {
		if err := p.Host.RemoveBlock(ctx, s.Name, owner); err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot remove the block device %s: %w", s.Name, err))
		}
	}
	return failed
}

// removeScratch removes the block devices that were made for pods that are gone.
func (p *Provider) removeScratch(ctx context.Context) error {
	blocks, err := p.Host.Blocks(ctx, p.Settings.Path)
	if err != nil {
		return err
	}
	known := map[types.UID]bool{}
	list, err := p.pods.List(labels.Everything())
	for _, pod := range list {
		known[pod.UID] = true
	}
	for _, b := range blocks {
		owner, ours := pods.ParseOwner(p.Cluster, b.Owner)
		pod, possible := pods.PodOf(messages.Name{Path: b.Name.Path.Parent(), Label: last(b.Name.Path)})
		if !ours || !possible || known[owner.UID] {
			continue
		}
		gone, failed := p.gone(ctx, pod, owner.UID)
		if failed == nil && gone {
			failed = p.Host.RemoveBlock(ctx, p.Settings.Path.InFull(b.Name), b.Owner)
		}
		err = errors.Join(err, failed)
	}
	return err
}

// last returns the innermost label of a path; empty: it is the root.
func last(path messages.Path) messages.Label {
	steps := path.Labels()
	if len(steps) == 0 {
		return ""
	}
	return steps[len(steps)-1]
}

package provider

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// reconcile does one step about a pod. It returns after how long the pod is to be looked at again,
// although nothing changes; 0: not at all. After an error it is, too.
func (p *Provider) reconcile(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	pod, err := p.pods.Pods(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("cannot read it: %w", err)
	}
	name, unnamed := pods.NameOf(p.Settings.Path, key)
	if err != nil || pod.Spec.NodeName != p.Node {
		p.prober.forget(key)
		return p.abandoned(ctx, key, name)
	}
	pod = pod.DeepCopy()
	switch {
	case unnamed != nil && pod.DeletionTimestamp != nil:
		return 0, p.letGo(ctx, pod)
	case unnamed != nil:
		return 0, p.refuse(ctx, pod, unnamed)
	}
	seen, err := p.look(ctx, name)
	if err != nil {
		return 0, err
	}
	return p.step(ctx, pod, name, seen)
}

// look asks the daemon about a name.
func (p *Provider) look(ctx context.Context, name messages.Name) (seen pods.Seen, err error) {
	u, known, err := p.Host.Find(ctx, name)
	if err != nil || !known {
		return seen, err
	}
	seen.Status, seen.Exists = u.UnikernelStatus, u.exists()
	seen.Owner, seen.Ours = pods.ParseOwner(p.Cluster, u.Owner)
	return seen, nil
}

func (p *Provider) step(ctx context.Context, pod *corev1.Pod, name messages.Name, seen pods.Seen) (time.Duration, error) {
	now := p.Now()
	d := pods.Next(pod, seen, now)
	left, limited := deadline(pod, now)
	if limited && left <= 0 && d.Step != pods.Destroy && d.Step != pods.Finish && !pods.Terminal(pod) {
		return 0, p.fail(ctx, pod, seen, pods.Deadline, "it was to run no longer than activeDeadlineSeconds")
	}
	if d.Step != pods.Show {
		p.prober.forget(pods.Key(pod))
	}
	switch d.Step {
	case pods.Start, pods.Replace:
		return left, p.start(ctx, pod, name, seen, d)
	case pods.Destroy, pods.Clear:
		return left, p.destroy(ctx, pod, name, d.Step)
	case pods.Wait:
		return earlier(d.At.Sub(now), left), p.show(ctx, pod, seen, d)
	case pods.Over:
		if pods.Terminal(pod) {
			return 0, p.removeScratchOf(ctx, pod, name)
		}
		return 0, p.show(ctx, pod, seen, d)
	case pods.Finish:
		return 0, p.finish(ctx, pod, name, seen, d)
	case pods.Show, pods.Blocked:
	}
	return left, p.show(ctx, pod, seen, d)
}

// earlier returns the smaller of two times; 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a > 0 && b > 0 {
		return min(a, b)
	}
	return max(a, b)
}

// deadline returns how long a pod may run still, if that is limited.
func deadline(pod *corev1.Pod, now time.Time) (left time.Duration, limited bool) {
	if pod.Spec.ActiveDeadlineSeconds == nil || pod.Status.StartTime == nil {
		return 0, false
	}
	end := pod.Status.StartTime.Add(time.Duration(*pod.Spec.ActiveDeadlineSeconds) * time.Second)
	return end.Sub(now), true
}

// show writes the status of a pod. A unikernel that its liveness probe has found dead is destroyed: it
// is started again if the pod asks for that.
func (p *Provider) show(ctx context.Context, pod *corev1.Pod, seen pods.Seen, d pods.Decision) error {
	view := p.view(pod, seen, d)
	if d.Step == pods.Show {
		p.setProblem(pod.UID, nil)
		view.Problem = nil
		health := p.prober.health(pod, seen)
		if health.dead != "" {
			p.Events.Event(pod, corev1.EventTypeWarning, "Unhealthy", "it is started again: "+health.dead)
			return p.Host.Destroy(ctx, seen.Status.Name)
		}
		view.Health = health.Health
	}
	_, err := p.write(ctx, pod, pods.Status(pod, view))
	return err
}

// view returns what a status shows, apart from health.
func (p *Provider) view(pod *corev1.Pod, seen pods.Seen, d pods.Decision) pods.View {
	return pods.View{
		Seen: seen, Decision: d, Problem: p.problem(pod.UID), HostIP: p.HostIP, Reached: p.Reached, Now: p.Now(),
	}
}

// write writes a status, unless it is that of the pod already, and returns the pod with it. If the pod
// was changed meanwhile, it is looked at again, since that puts it into the queue.
func (p *Provider) write(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) (*corev1.Pod, error) {
	if equality.Semantic.DeepEqual(pod.Status, status) {
		return pod, nil
	}
	pod = pod.DeepCopy()
	pod.Status = status
	written, err := p.Client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot write its status: %w", err)
	}
	return written, nil
}

// refuse makes a pod fail that is not possible as a unikernel.
func (p *Provider) refuse(ctx context.Context, pod *corev1.Pod, why error) error {
	return p.fail(ctx, pod, pods.Seen{}, pods.Unsupported, why.Error())
}

// fail makes a pod fail. Its unikernel is destroyed when that is known.
func (p *Provider) fail(ctx context.Context, pod *corev1.Pod, seen pods.Seen, reason, message string) error {
	if pods.Terminal(pod) {
		return nil
	}
	view := p.view(pod, seen, pods.Decision{})
	view.Problem = &pods.Problem{Reason: reason, Message: message, Final: true}
	_, err := p.write(ctx, pod, pods.Status(pod, view))
	if err == nil {
		p.Events.Event(pod, corev1.EventTypeWarning, reason, message)
	}
	return err
}

// problem returns why a pod was not started; nil: nothing is known.
func (p *Provider) problem(pod types.UID) *pods.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	if problem, ok := p.problems[pod]; ok {
		return &problem
	}
	return nil
}

// setProblem notes why a pod was not started; nil: it was, or is gone.
func (p *Provider) setProblem(pod types.UID, problem *pods.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if problem == nil {
		delete(p.problems, pod)
		return
	}
	p.problems[pod] = *problem
}

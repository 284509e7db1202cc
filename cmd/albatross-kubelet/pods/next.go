package pods

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"albatross/messages"
)

// Seen is what the daemon answers about the name of a pod's unikernel.
type Seen struct {
	Exists bool  // there is a unikernel of that name, which runs or is to run
	Ours   bool  // it belongs to a pod of this cluster:
	Owner  Owner // this one
	// Status is that of the unikernel, or how the last one of that name ended; zero: there was none.
	Status messages.UnikernelStatus
}

// belongsTo reports whether the unikernel is that of a pod.
func (s Seen) belongsTo(pod *corev1.Pod) bool { return s.Exists && s.Ours && s.Owner.UID == pod.UID }

// A Step is what is to be done about a pod.
type Step string

// The steps.
const (
	Show    Step = "show"    // nothing but to show what there is
	Start   Step = "start"   // create its unikernel
	Replace Step = "replace" // create it with another image, in place of the one that runs
	Destroy Step = "destroy" // destroy its unikernel
	Clear   Step = "clear"   // destroy the unikernel of an earlier pod of that name
	Wait    Step = "wait"    // start it later
	Blocked Step = "blocked" // the name belongs to a unikernel of somebody else
	Over    Step = "over"    // it has ended, and stays so
	Finish  Step = "finish"  // nothing runs any more of a pod that is deleted
)

// A Decision is a step and what belongs to it.
type Decision struct {
	Step   Step
	Former int           // of Start, Replace and Wait: see Owner
	At     time.Time     // of Wait: when to start it
	Pause  time.Duration // of Wait: how long it waits in all
	End    messages.End  // of Wait, Over and Start: how the last run ended; zero: nobody knows
	Ended  bool          // there is such an end
}

// Next decides what is to be done about a pod, by its status and by what the daemon answers. It holds
// nothing else, so that a provider that is started again decides the same.
func Next(pod *corev1.Pod, seen Seen, now time.Time) Decision {
	mine := seen.belongsTo(pod)
	switch {
	case pod.DeletionTimestamp != nil && mine, Terminal(pod) && mine:
		return Decision{Step: Destroy}
	case pod.DeletionTimestamp != nil:
		return Finished(pod, seen)
	case Terminal(pod):
		return Decision{Step: Over}
	case mine && imageChanged(pod):
		return Decision{Step: Replace, Former: seen.Owner.Former + seen.Status.Restarts + 1}
	case mine:
		return Decision{Step: Show}
	case seen.Exists && seen.Ours:
		return Decision{Step: Clear}
	case seen.Exists:
		return Decision{Step: Blocked}
	}
	return again(pod, seen, now)
}

// Finished is the decision about a pod that is deleted, and of which nothing runs.
func Finished(pod *corev1.Pod, seen Seen) Decision {
	end, ended := endOf(pod, seen)
	return Decision{Step: Finish, End: end, Ended: ended}
}

// again decides whether a pod of which nothing runs is started.
func again(pod *corev1.Pod, seen Seen, now time.Time) Decision {
	run, _ := RunOf(pod)
	end, ended := endOf(pod, seen)
	d := Decision{Step: Start, Former: run.Former, End: end, Ended: ended}
	switch {
	case !ended:
		return d
	case !restarts(pod.Spec.RestartPolicy, end.Exit):
		d.Step = Over
		return d
	}
	count := run.Former + end.Restarts
	d.Former = count + 1
	d.Pause = pause(count, ran(pod, end))
	d.At = end.Known().Add(d.Pause)
	if d.Pause > 0 && d.At.After(now) {
		d.Step = Wait
	}
	return d
}

// Terminal reports whether a pod has ended for good.
func Terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// imageChanged reports whether the image was changed since the unikernel was created.
func imageChanged(pod *corev1.Pod) bool {
	was := container(pod).Image
	return was != "" && was != pod.Spec.Containers[0].Image
}

// endOf returns how the run ended that the status is about, if it did. An end that nobody knows is
// zero.
func endOf(pod *corev1.Pod, seen Seen) (end messages.End, ended bool) {
	run, begun := RunOf(pod)
	if !begun || seen.belongsTo(pod) {
		return end, false
	}
	if e := seen.Status.End; !seen.Exists && e.OK && !e.Value.Known().Before(run.Asked) {
		return e.Value, true
	}
	state := container(pod).State
	ran := state.Running != nil || state.Terminated != nil || state.Waiting != nil && state.Waiting.Reason == reasonBackoff
	return end, ran
}

// restarts reports whether a policy starts a unikernel again after an end.
func restarts(policy corev1.RestartPolicy, exit messages.Exit) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return !succeeded(exit)
	}
	return true
}

func succeeded(exit messages.Exit) bool { return exit == messages.Exit{Known: true} }

// The pauses before a pod is started again, as the kubelet of Kubernetes has them.
const (
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
	healthyAfter = 10 * time.Minute // after running so long, the next start does not wait
)

// pause returns how long to wait before a pod is started again that was so often already.
func pause(restarts int, ran time.Duration) time.Duration {
	if restarts == 0 || ran >= healthyAfter {
		return 0
	}
	d := firstPause
	for ; restarts > 1 && d < longestPause; restarts-- {
		d *= 2
	}
	return min(d, longestPause)
}

// ran returns how long the last run lasted, as far as the status tells; 0: it does not.
func ran(pod *corev1.Pod, end messages.End) time.Duration {
	c := container(pod)
	switch {
	case c.State.Running != nil:
		return end.Known().Sub(c.State.Running.StartedAt.Time)
	case c.LastTerminationState.Terminated != nil:
		t := c.LastTerminationState.Terminated
		return t.FinishedAt.Sub(t.StartedAt.Time)
	}
	return 0
}

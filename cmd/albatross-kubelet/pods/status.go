package pods

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/messages"
)

// The reasons in statuses. Those that Kubernetes has words for are in its words.
const (
	reasonCreating = "ContainerCreating"
	reasonBackoff  = "CrashLoopBackOff"
	reasonWaiting  = "Waiting"   // the daemon will start it, but not before something else has happened
	reasonStopped  = "Stopped"   // somebody has stopped it on the host
	reasonName     = "NameTaken" // somebody else's unikernel has its name
	reasonUnknown  = "ContainerStatusUnknown"

	// Unsupported is the reason of a pod that is not possible as a unikernel.
	Unsupported = "Unsupported"
	// Deadline is the reason of a pod that has run for longer than its activeDeadlineSeconds.
	Deadline = "DeadlineExceeded"
)

// A Problem is why a pod does not run, apart from what its unikernel does. The reason is one word.
type Problem struct {
	Reason  string
	Message string
	Final   bool // the pod fails; else the start is tried again
}

// A Health is what probes know about a unikernel that runs.
type Health struct{ Started, Ready bool }

// A View is all that a status shows.
type View struct {
	Seen     Seen
	Decision Decision
	Problem  *Problem // nil: there is none
	Health   Health
	Begins   *Run // this run is about to begin; nil: none is
	HostIP   string
	// Reached are the networks whose addresses are reached from outside of the host.
	Reached func(network string) bool
	Now     time.Time
}

// unknownCode is the exit code of a container of which nobody knows how it ended. Kubernetes has no
// other word for that.
const unknownCode = 137

// Status returns the status of a pod. It keeps what others have written into it.
func Status(pod *corev1.Pod, v View) corev1.PodStatus {
	s := *pod.Status.DeepCopy()
	s.ObservedGeneration = pod.Generation
	if s.StartTime == nil {
		started := metav1.NewTime(v.Now).Rfc3339Copy()
		s.StartTime = &started
	}
	if v.HostIP != "" {
		s.HostIP, s.HostIPs = v.HostIP, []corev1.HostIP{{IP: v.HostIP}}
	}
	if v.Problem != nil && v.Problem.Final {
		s.Phase, s.Reason, s.Message = corev1.PodFailed, v.Problem.Reason, v.Problem.Message
		s.ContainerStatuses = failed(pod, v)
		s.Conditions = conditions(pod, s, v.Now)
		return s
	}
	c := containerStatus(pod, v)
	s.ContainerStatuses = []corev1.ContainerStatus{c}
	s.Phase, s.Reason, s.Message = phase(pod, v, c), "", ""
	if ips := addresses(v); len(ips) > 0 {
		s.PodIP, s.PodIPs = ips[0].IP, ips
	}
	s.Conditions = conditions(pod, s, v.Now)
	return s
}

// phase returns the phase of a pod. One that has begun to run does not become pending again.
func phase(pod *corev1.Pod, v View, c corev1.ContainerStatus) corev1.PodPhase {
	final := v.Decision.Step == Over || v.Decision.Step == Finish
	switch {
	case final && c.State.Terminated != nil && c.State.Terminated.ExitCode == 0 && c.State.Terminated.Signal == 0:
		return corev1.PodSucceeded
	case final && Terminal(pod):
		return pod.Status.Phase
	case final:
		return corev1.PodFailed
	case c.State.Running != nil, pod.Status.Phase == corev1.PodRunning:
		return corev1.PodRunning
	}
	return corev1.PodPending
}

// failed returns the status of the container of a pod that fails as a whole: without one that has
// begun there is nothing to tell.
func failed(pod *corev1.Pod, v View) []corev1.ContainerStatus {
	if _, begun := RunOf(pod); !begun {
		return nil
	}
	c := containerStatus(pod, v)
	c.Ready, c.Started = false, new(bool)
	if c.State.Terminated == nil {
		c.State = corev1.ContainerState{Terminated: terminated(pod, c, messages.End{}, v.Now)}
	}
	return []corev1.ContainerStatus{c}
}

// containerStatus returns the status of the container.
func containerStatus(pod *corev1.Pod, v View) corev1.ContainerStatus {
	spec := &pod.Spec.Containers[0]
	was := container(pod)
	c := corev1.ContainerStatus{
		Name: spec.Name, Image: was.Image, ImageID: was.ImageID, ContainerID: was.ContainerID,
		RestartCount: was.RestartCount, LastTerminationState: was.LastTerminationState, Started: new(bool),
	}
	if v.Begins != nil {
		c.Image, c.ContainerID, c.RestartCount = spec.Image, v.Begins.String(), int32(v.Begins.Former)
	}
	if c.Image == "" {
		c.Image = spec.Image
	}
	if v.Decision.Ended && !keptEnd(was) {
		c.LastTerminationState = corev1.ContainerState{Terminated: terminated(pod, was, v.Decision.End, v.Now)}
	}
	switch {
	case v.Seen.belongsTo(pod):
		living(&c, pod, was, v)
	case v.Decision.Step == Over || v.Decision.Step == Finish:
		over(&c, pod, was, v)
	default:
		c.State.Waiting = waiting(v)
	}
	return c
}

// keptEnd reports whether the last end of a container is in its status already.
func keptEnd(c corev1.ContainerStatus) bool {
	return c.State.Waiting != nil && c.State.Waiting.Reason == reasonBackoff && c.LastTerminationState.Terminated != nil
}

// waiting returns why nothing runs.
func waiting(v View) *corev1.ContainerStateWaiting {
	switch d := v.Decision; {
	case v.Problem != nil:
		return &corev1.ContainerStateWaiting{Reason: v.Problem.Reason, Message: v.Problem.Message}
	case d.Step == Blocked:
		return &corev1.ContainerStateWaiting{Reason: reasonName, Message: fmt.Sprintf(
			"a unikernel on the host has the name %s, and belongs to nobody in this cluster: destroy it there, or give the pod another name", v.Seen.Status.Name)}
	case d.Step == Wait:
		return &corev1.ContainerStateWaiting{Reason: reasonBackoff, Message: fmt.Sprintf("%s; it is started again %v after that", endText(d.End), d.Pause)}
	}
	return &corev1.ContainerStateWaiting{Reason: reasonCreating}
}

// over fills in the status of a container that has ended for good.
func over(c *corev1.ContainerStatus, pod *corev1.Pod, was corev1.ContainerStatus, v View) {
	switch {
	case was.State.Terminated != nil:
		c.State = was.State
	case v.Decision.Ended && keptEnd(was):
		c.State.Terminated, c.LastTerminationState = was.LastTerminationState.Terminated, corev1.ContainerState{}
	case v.Decision.Ended:
		c.State.Terminated = terminated(pod, was, v.Decision.End, v.Now)
		c.LastTerminationState = was.LastTerminationState
	default: // a pod that is deleted before anything has run
		c.State.Terminated = &corev1.ContainerStateTerminated{
			ExitCode: unknownCode, Reason: reasonUnknown, Message: "it has not been started", FinishedAt: metav1.NewTime(v.Now).Rfc3339Copy(),
		}
	}
	if v.Decision.Ended {
		run, _ := RunOf(pod)
		c.RestartCount = max(c.RestartCount, int32(run.Former+v.Decision.End.Restarts))
	}
}

// living fills in the status of a container whose unikernel exists.
func living(c *corev1.ContainerStatus, pod *corev1.Pod, was corev1.ContainerStatus, v View) {
	u := v.Seen.Status
	c.RestartCount = int32(v.Seen.Owner.Former + u.Restarts)
	if u.Digest != (messages.Digest{}) {
		c.ImageID = "sha256:" + u.Digest.String()
	}
	if run, begun := RunOf(pod); begun && u.End.OK && !u.End.Value.Known().Before(run.Asked) {
		c.LastTerminationState = lastEnd(pod, was, u.End.Value, v.Now)
	}
	switch u.State {
	case messages.StateRunning:
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(u.Started).Rfc3339Copy()}
		started := v.Health.Started
		c.Started, c.Ready = &started, v.Health.Started && v.Health.Ready
	case messages.StateRestarting:
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reasonBackoff, Message: string(u.Wait.Value.Cause)}
	case messages.StateWaiting:
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reasonWaiting, Message: string(u.Wait.Value.Cause)}
	case messages.StateStopped:
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reasonStopped, Message: "somebody has stopped it on the host: it runs again when it is started there"}
	default:
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reasonCreating}
	}
}

// lastEnd returns an end of the daemon's, or the same as it is in the status already, whose start only
// that knows.
func lastEnd(pod *corev1.Pod, was corev1.ContainerStatus, end messages.End, now time.Time) corev1.ContainerState {
	t := terminated(pod, was, end, now)
	if kept := was.LastTerminationState.Terminated; kept != nil && kept.FinishedAt.Equal(&t.FinishedAt) {
		return was.LastTerminationState
	}
	return corev1.ContainerState{Terminated: t}
}

// terminated returns how a run ended.
func terminated(pod *corev1.Pod, was corev1.ContainerStatus, end messages.End, now time.Time) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{ContainerID: was.ContainerID, Message: endText(end), Reason: "Error"}
	switch exit := end.Exit; {
	case !exit.Known:
		t.ExitCode, t.Reason = unknownCode, reasonUnknown
	case exit.OutOfMemory:
		t.ExitCode, t.Signal, t.Reason = 128+int32(exit.Signal), int32(exit.Signal), "OOMKilled"
	case exit.Signal != 0:
		t.ExitCode, t.Signal = 128+int32(exit.Signal), int32(exit.Signal)
	case exit.Code == 0:
		t.Reason, t.Message = "Completed", ""
	default:
		t.ExitCode = int32(exit.Code)
	}
	t.FinishedAt = metav1.NewTime(end.Known()).Rfc3339Copy()
	if end.Known().UnixMilli() == 0 {
		t.FinishedAt = metav1.NewTime(now).Rfc3339Copy()
	}
	if was.State.Running != nil {
		t.StartedAt = was.State.Running.StartedAt
	}
	return t
}

// tenderRefuses is the exit code of a tender that refuses an image or its devices.
const tenderRefuses = 1

// endText says for people how a run ended.
func endText(end messages.End) string {
	switch exit := end.Exit; {
	case !exit.Known:
		return "nobody has seen how it ended"
	case exit.Signal == 0 && exit.Code == tenderRefuses:
		return "exit 1, as of a tender that refuses to run an image: its log tells more"
	default:
		return exit.String()
	}
}

// addresses returns the addresses of a unikernel that others reach: those of its first device on such
// a network.
func addresses(v View) (list []corev1.PodIP) {
	if !v.Seen.Exists || v.Reached == nil {
		return nil
	}
	for _, n := range v.Seen.Status.Arguments.Networks {
		if len(n.Leases) > 0 && v.Reached(n.OnBridge()) {
			for _, ip := range n.Leases {
				list = append(list, corev1.PodIP{IP: ip.String()})
			}
			return list
		}
	}
	return nil
}

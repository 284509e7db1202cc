package pods_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// look returns the status that follows from what the daemon answers, as a provider writes it.
func look(p *corev1.Pod, seen pods.Seen) corev1.PodStatus {
	return pods.Status(p, pods.View{
		Seen: seen, Decision: pods.Next(p, seen, noon), Health: pods.Health{Started: true, Ready: true}, HostIP: "192.0.2.1",
		Reached: func(network string) bool { return network == "pods" }, Now: noon,
	})
}

func condition(s corev1.PodStatus, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestTheStatusOfARunningPod(t *testing.T) {
	p := newPod(begun(2, noon.Add(-time.Minute)))
	p.Status.QOSClass = corev1.PodQOSBurstable
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	seen := runs(p.UID, 2)
	seen.Status.Digest, seen.Status.Restarts = messages.Digest{1}, 1
	seen.Status.Arguments.Networks = []messages.Network{
		{Name: "a", Bridge: messages.Some("user"), Leases: []netip.Addr{netip.MustParseAddr("10.9.9.9")}},
		{Name: "b", Bridge: messages.Some("pods"), Leases: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}},
	}
	s := look(p, seen)
	require.Equal(t, corev1.PodRunning, s.Phase)
	require.Equal(t, "192.0.2.1", s.HostIP)
	require.Equal(t, "10.0.0.2", s.PodIP, "that of the network that others reach")
	require.Equal(t, []corev1.PodIP{{IP: "10.0.0.2"}, {IP: "fd00::2"}}, s.PodIPs)
	require.Equal(t, corev1.PodQOSBurstable, s.QOSClass, "what the API server has written stays")
	require.Equal(t, corev1.ConditionTrue, condition(s, corev1.PodScheduled).Status)
	require.Equal(t, corev1.ConditionTrue, condition(s, corev1.PodReady).Status)
	c := s.ContainerStatuses[0]
	require.True(t, c.Ready)
	require.True(t, *c.Started)
	require.EqualValues(t, 3, c.RestartCount)
	require.Equal(t, "sha256:0100000000000000000000000000000000000000000000000000000000000000", c.ImageID)
	require.Equal(t, noon, c.State.Running.StartedAt.UTC())
	require.EqualValues(t, 3, s.ObservedGeneration)
}

func TestAStatusThatIsShownAgainIsTheSame(t *testing.T) {
	p := newPod(begun(0, noon.Add(-time.Minute)))
	p.Status = look(p, runs(p.UID, 0))
	again := pods.Status(p, pods.View{Seen: runs(p.UID, 0), Health: pods.Health{Started: true, Ready: true}, HostIP: "192.0.2.1", Now: noon.Add(time.Hour)})
	require.Equal(t, p.Status, again, "no time in it goes on")
}

func TestAPodIsReadyWhenItsProbesAndGatesAre(t *testing.T) {
	p := newPod(begun(0, noon), func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "balanced"}}
	})
	seen := runs(p.UID, 0)
	for _, h := range []pods.Health{{}, {Ready: true}, {Started: true}} {
		s := pods.Status(p, pods.View{Seen: seen, Health: h, Now: noon})
		require.False(t, s.ContainerStatuses[0].Ready, "%+v", h)
		require.Equal(t, "ContainersNotReady", condition(s, corev1.PodReady).Reason)
	}
	s := look(p, seen)
	require.Equal(t, corev1.ConditionTrue, condition(s, corev1.ContainersReady).Status)
	require.Equal(t, corev1.ConditionFalse, condition(s, corev1.PodReady).Status)
	require.Equal(t, "the condition balanced is not true", condition(s, corev1.PodReady).Message)
	p.Status.Conditions = []corev1.PodCondition{{Type: "balanced", Status: corev1.ConditionTrue}}
	require.Equal(t, corev1.ConditionTrue, condition(look(p, seen), corev1.PodReady).Status)
}

// TestWhatTheControlPlaneSetsIsPutRight: it makes pods of a node that was silent not ready.
func TestWhatTheControlPlaneSetsIsPutRight(t *testing.T) {
	p := newPod(begun(0, noon.Add(-time.Hour)))
	p.Status = look(p, runs(p.UID, 0))
	for i, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			p.Status.Conditions[i].Status = corev1.ConditionFalse
			p.Status.Conditions[i].LastTransitionTime = metav1.NewTime(noon.Add(-time.Minute))
		}
	}
	ready := condition(look(p, runs(p.UID, 0)), corev1.PodReady)
	require.Equal(t, corev1.ConditionTrue, ready.Status)
	require.Equal(t, noon, ready.LastTransitionTime.UTC(), "it has become so now")
}

func TestHowRunsEnd(t *testing.T) {
	for _, c := range []struct {
		exit   messages.Exit
		phase  corev1.PodPhase
		code   int32
		signal int32
		reason string
		says   string
	}{
		{code(0), corev1.PodSucceeded, 0, 0, "Completed", ""},
		{code(64), corev1.PodFailed, 64, 0, "Error", "exit 64"},
		{code(1), corev1.PodFailed, 1, 0, "Error", "exit 1, as of a tender that refuses to run an image: its log tells more"},
		{signal(11), corev1.PodFailed, 139, 11, "Error", "signal 11"},
		{messages.Exit{Known: true, Signal: 9, OutOfMemory: true}, corev1.PodFailed, 137, 9, "OOMKilled", "out of memory"},
		{messages.Exit{}, corev1.PodFailed, 137, 0, "ContainerStatusUnknown", "nobody has seen how it ended"},
	} {
		p := newPod(policy(corev1.RestartPolicyNever), shownRunning(noon.Add(-time.Minute)))
		s := look(p, ended(c.exit, noon.Add(-time.Second), 4))
		require.Equal(t, c.phase, s.Phase, c.exit)
		end := s.ContainerStatuses[0].State.Terminated
		require.Equal(t, c.code, end.ExitCode)
		require.Equal(t, c.signal, end.Signal)
		require.Equal(t, c.reason, end.Reason)
		require.Equal(t, c.says, end.Message)
		require.Equal(t, noon.Add(-time.Minute), end.StartedAt.UTC())
		require.Equal(t, noon.Add(-time.Second), end.FinishedAt.UTC())
		require.EqualValues(t, 4, s.ContainerStatuses[0].RestartCount)
		require.False(t, s.ContainerStatuses[0].Ready)
		p.Status = s
		require.Equal(t, pods.Over, pods.Next(p, pods.Seen{}, noon).Step, "it stays so when the daemon has forgotten it")
	}
}

// TestACrashLoopShowsWhy: over the whole loop, written step by step as a provider does.
func TestACrashLoopShowsWhy(t *testing.T) {
	p := newPod(begun(1, noon.Add(-time.Minute)))
	p.Status = look(p, runs(p.UID, 1))
	p.Status = look(p, ended(code(2), noon.Add(-time.Second), 0))
	c := p.Status.ContainerStatuses[0]
	require.Equal(t, corev1.PodRunning, p.Status.Phase)
	require.Equal(t, "CrashLoopBackOff", c.State.Waiting.Reason)
	require.Equal(t, "exit 2; it is started again 10s after that", c.State.Waiting.Message)
	require.EqualValues(t, 2, c.LastTerminationState.Terminated.ExitCode)
	last := c.LastTerminationState
	p.Status = look(p, ended(code(2), noon.Add(-time.Second), 0))
	require.Equal(t, last, p.Status.ContainerStatuses[0].LastTerminationState)

	// The next run begins, and ends before anything was shown of it.
	seen := ended(code(2), noon.Add(-time.Second), 0)
	later := noon.Add(10 * time.Second)
	d := pods.Next(p, seen, later)
	require.Equal(t, pods.Start, d.Step)
	p.Status = pods.Status(p, pods.View{Seen: seen, Decision: d, Begins: &pods.Run{Former: d.Former, Asked: later}, Now: later})
	require.EqualValues(t, 2, p.Status.ContainerStatuses[0].RestartCount)
	require.Equal(t, last, p.Status.ContainerStatuses[0].LastTerminationState, "the former end is still the last one")
	seen = ended(signal(6), later.Add(time.Millisecond), 0)
	p.Status = pods.Status(p, pods.View{Seen: seen, Decision: pods.Next(p, seen, later), Now: later})
	require.EqualValues(t, 6, p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Signal)
	require.Equal(t, "signal 6; it is started again 20s after that", p.Status.ContainerStatuses[0].State.Waiting.Message)
}

func TestWhyNothingRuns(t *testing.T) {
	foreign := runs("", 0)
	foreign.Ours = false
	foreign.Status.Name = messages.Name{Path: "shop", Label: "web-1"}
	mine := func(state messages.UnikernelState, cause messages.Public) pods.Seen {
		seen := runs(newPod().UID, 0)
		seen.Status.State, seen.Status.Wait = state, messages.Some(messages.Wait{Cause: cause})
		return seen
	}
	for name, c := range map[string]struct {
		seen         pods.Seen
		reason, says string
	}{
		"new":        {pods.Seen{}, "ContainerCreating", ""},
		"starting":   {mine(messages.StateStarting, ""), "ContainerCreating", ""},
		"foreign":    {foreign, "NameTaken", "a unikernel on the host has the name shop:web-1, and belongs to nobody in this cluster: destroy it there, or give the pod another name"},
		"restarting": {mine(messages.StateRestarting, "exit 2 asks for a restart"), "CrashLoopBackOff", "exit 2 asks for a restart"},
		"waiting":    {mine(messages.StateWaiting, "no room"), "Waiting", "no room"},
		"stopped":    {mine(messages.StateStopped, ""), "Stopped", "somebody has stopped it on the host: it runs again when it is started there"},
	} {
		s := look(newPod(), c.seen)
		require.Equal(t, corev1.PodPending, s.Phase, name)
		require.Equal(t, &corev1.ContainerStateWaiting{Reason: c.reason, Message: c.says}, s.ContainerStatuses[0].State.Waiting, name)
		require.Equal(t, corev1.ConditionFalse, condition(s, corev1.PodReady).Status, name)
	}
	s := pods.Status(newPod(), pods.View{Decision: pods.Decision{Step: pods.Start}, Problem: &pods.Problem{Reason: "ErrImagePull", Message: "no route"}, Now: noon})
	require.Equal(t, &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no route"}, s.ContainerStatuses[0].State.Waiting)
	require.Equal(t, corev1.PodPending, s.Phase)
}

func TestAPodThatIsNotPossibleFails(t *testing.T) {
	s := pods.Status(newPod(), pods.View{Problem: &pods.Problem{Reason: pods.Unsupported, Message: "no", Final: true}, Now: noon})
	require.Equal(t, corev1.PodFailed, s.Phase)
	require.Equal(t, "Unsupported", s.Reason)
	require.Equal(t, "no", s.Message)
	require.Empty(t, s.ContainerStatuses)
	require.Equal(t, "PodFailed", condition(s, corev1.PodReady).Reason)
}

func TestAPodThatIsDeletedEnds(t *testing.T) {
	s := look(newPod(deleted, shownRunning(noon.Add(-time.Minute))), ended(signal(15), noon, 0))
	require.EqualValues(t, 15, s.ContainerStatuses[0].State.Terminated.Signal)
	require.Equal(t, corev1.PodFailed, s.Phase)
	s = look(newPod(deleted), pods.Seen{})
	require.Equal(t, "it has not been started", s.ContainerStatuses[0].State.Terminated.Message)
}

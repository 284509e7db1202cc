package pods_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

func code(n int) messages.Exit   { return messages.Exit{Known: true, Code: n} }
func signal(n int) messages.Exit { return messages.Exit{Known: true, Signal: n} }

// ended returns what the daemon says of a name whose last run has ended.
func ended(exit messages.Exit, at time.Time, restarts int) pods.Seen {
	return pods.Seen{Status: messages.UnikernelStatus{
		State: messages.StateEnded, End: messages.Some(messages.End{Exit: exit, AtMillis: at.UnixMilli(), Restarts: restarts}),
	}}
}

// runs returns what the daemon says of a unikernel that belongs to a pod.
func runs(uid types.UID, former int) pods.Seen {
	return pods.Seen{Exists: true, Ours: true, Owner: pods.Owner{UID: uid, Former: former}, Status: messages.UnikernelStatus{
		State: messages.StateRunning, Started: noon,
	}}
}

// begun makes a run of a pod one that is about to begin, or has begun, at a time.
func begun(former int, at time.Time) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodPending
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "web", Image: p.Spec.Containers[0].Image, ContainerID: pods.Run{Former: former, Asked: at}.String(), RestartCount: int32(former),
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}}
	}
}

// shownRunning makes a pod one whose status says that it runs since a time.
func shownRunning(since time.Time) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		begun(0, since)(p)
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}}
	}
}

func deleted(p *corev1.Pod) {
	now := metav1.NewTime(noon)
	p.DeletionTimestamp = &now
}

func TestNext(t *testing.T) {
	uid := newPod().UID
	foreign := runs("", 0)
	foreign.Ours = false
	newImage := inContainer(func(c *corev1.Container) { c.Image = "registry/web:2" })
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		seen pods.Seen
		step pods.Step
	}{
		"a new pod":     {newPod(), pods.Seen{}, pods.Start},
		"one that runs": {newPod(shownRunning(noon)), runs(uid, 0), pods.Show},
		"one that runs, and whose status was lost":                          {newPod(), runs(uid, 0), pods.Show},
		"deleted, and runs":                                                 {newPod(deleted), runs(uid, 0), pods.Destroy},
		"deleted, and gone":                                                 {newPod(deleted, shownRunning(noon)), ended(signal(15), noon, 0), pods.Finish},
		"deleted before it has run":                                         {newPod(deleted), pods.Seen{}, pods.Finish},
		"deleted, while its name is somebody else's":                        {newPod(deleted), foreign, pods.Finish},
		"deleted, while another pod has its name":                           {newPod(deleted), runs("other", 0), pods.Finish},
		"failed, and runs":                                                  {newPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), runs(uid, 0), pods.Destroy},
		"failed":                                                            {newPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), pods.Seen{}, pods.Over},
		"an earlier pod of this name runs":                                  {newPod(), runs("other", 0), pods.Clear},
		"somebody else's unikernel has the name":                            {newPod(), foreign, pods.Blocked},
		"the image was changed":                                             {newPod(shownRunning(noon), newImage), runs(uid, 0), pods.Replace},
		"an end of an earlier pod of this name":                             {newPod(begun(0, noon)), ended(code(0), noon.Add(-time.Second), 0), pods.Start},
		"an end before it was begun":                                        {newPod(), ended(code(0), noon, 0), pods.Start},
		"it has ended, and is never started again":                          {newPod(policy(corev1.RestartPolicyNever), begun(0, noon)), ended(code(3), noon.Add(time.Second), 0), pods.Over},
		"it has succeeded, and was to":                                      {newPod(policy(corev1.RestartPolicyOnFailure), shownRunning(noon)), ended(code(0), noon.Add(time.Second), 0), pods.Over},
		"it has failed, and is started again":                               {newPod(policy(corev1.RestartPolicyOnFailure), shownRunning(noon)), ended(code(1), noon.Add(time.Second), 0), pods.Start},
		"nobody has seen its end, which was no success":                     {newPod(policy(corev1.RestartPolicyOnFailure), shownRunning(noon)), ended(messages.Exit{}, noon.Add(time.Second), 0), pods.Start},
		"it was destroyed by hand":                                          {newPod(shownRunning(noon)), ended(signal(15), noon.Add(time.Second), 0), pods.Start},
		"the daemon has forgotten it":                                       {newPod(shownRunning(noon)), pods.Seen{}, pods.Start},
		"the daemon has forgotten it, and it was never to be started again": {newPod(policy(corev1.RestartPolicyNever), shownRunning(noon)), pods.Seen{}, pods.Over},
		"it has ended too often to start at once":                           {newPod(begun(2, noon.Add(-time.Minute))), ended(code(1), noon, 1), pods.Wait},
	} {
		require.Equal(t, c.step, pods.Next(c.pod, c.seen, noon).Step, name)
	}
}

func TestACreateThatWasCutOffIsRepeatedAsTheSameRun(t *testing.T) {
	d := pods.Next(newPod(begun(3, noon)), ended(code(1), noon.Add(-time.Hour), 0), noon)
	require.Equal(t, pods.Decision{Step: pods.Start, Former: 3}, d)
}

func TestPausesGrow(t *testing.T) {
	for _, c := range []struct {
		former, restarts int
		pause            time.Duration
	}{{0, 0, 0}, {1, 0, 10 * time.Second}, {1, 1, 20 * time.Second}, {4, 0, 80 * time.Second}, {5, 0, 160 * time.Second}, {6, 0, 5 * time.Minute}, {1000, 0, 5 * time.Minute}} {
		d := pods.Next(newPod(begun(c.former, noon.Add(-time.Second))), ended(code(1), noon, c.restarts), noon)
		require.Equal(t, c.pause, d.Pause, "%+v", c)
		require.Equal(t, c.former+c.restarts+1, d.Former)
		if c.pause > 0 {
			require.Equal(t, pods.Wait, d.Step)
			require.Equal(t, noon.Add(c.pause), d.At)
			require.Equal(t, pods.Start, pods.Next(newPod(begun(c.former, noon.Add(-time.Second))), ended(code(1), noon, c.restarts), d.At).Step)
		}
	}
}

func TestAfterALongRunNothingWaits(t *testing.T) {
	p := newPod(shownRunning(noon.Add(-time.Hour)))
	p.Status.ContainerStatuses[0].ContainerID = pods.Run{Former: 5, Asked: noon.Add(-time.Hour)}.String()
	require.Equal(t, pods.Start, pods.Next(p, ended(code(1), noon, 0), noon).Step)
}

func TestRunsAreInTheStatus(t *testing.T) {
	_, begunYet := pods.RunOf(newPod())
	require.False(t, begunYet)
	run, begunYet := pods.RunOf(newPod(begun(7, noon)))
	require.True(t, begunYet)
	require.Equal(t, pods.Run{Former: 7, Asked: noon}, run)
	for _, id := range []string{"", "docker://123", "albatross://x-1", "albatross://1"} {
		p := newPod(begun(7, noon))
		p.Status.ContainerStatuses[0].ContainerID = id
		_, begunYet := pods.RunOf(p)
		require.False(t, begunYet, id)
	}
}

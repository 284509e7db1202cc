package daemon_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/messages"
)

func name(t *testing.T, s string) messages.Name {
	t.Helper()
	n, err := messages.ParseName(s)
	require.NoError(t, err)
	return n
}

// TestPodsOfARealDaemon: from nothing to a unikernel, through the end of the provider and kill -9 of the
// daemon, to nothing.
func TestPodsOfARealDaemon(t *testing.T) {
	h := newHost(t)
	c := newCluster(h)
	stop := c.serve()
	defer func() { stop() }()
	c.create("web", "hello", "--hello=world")
	c.is("web", "running", running)
	u, known, err := h.Find(t.Context(), name(t, "k8s:shop:web"))
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, "kubernetes/01234567/uid-web/0", u.Owner)
	require.Equal(t, 32, u.Arguments.Memory)
	require.Equal(t, "sha256:"+u.Digest.String(), c.pod("web").Status.ContainerStatuses[0].ImageID)

	stop()
	h.stop(unix.SIGKILL)
	h.start()
	stop = c.serve()
	c.create("mail", "hello")
	c.is("mail", "running", running)
	again, _, err := h.Find(t.Context(), name(t, "k8s:shop:web"))
	require.NoError(t, err)
	require.Equal(t, u.PID, again.PID, "it has run all the time")
	require.True(t, running(c.pod("web").Status.ContainerStatuses[0]))

	require.NoError(t, h.Destroy(t.Context(), name(t, "k8s:shop:web")))
	c.is("web", "started again", func(s corev1.ContainerStatus) bool { return s.RestartCount == 1 && running(s) })
	require.NoError(t, c.api.CoreV1().Pods("shop").Delete(t.Context(), "web", metav1.DeleteOptions{}))
	h.until("its unikernel is gone", func() bool {
		u, _, err := h.Find(context.Background(), name(t, "k8s:shop:web"))
		return err == nil && u.State == messages.StateEnded
	})
}

// TestTheDaemonStartsAgainWhatFails, by itself, with its own pauses.
func TestTheDaemonStartsAgainWhatFails(t *testing.T) {
	h := newHost(t)
	c := newCluster(h)
	defer c.serve()()
	c.create("loop", "exit", "7", "10")
	c.is("loop", "started again", func(s corev1.ContainerStatus) bool {
		return s.RestartCount >= 2 && s.LastTerminationState.Terminated != nil && s.LastTerminationState.Terminated.ExitCode == 7
	})
	job := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "job", UID: "uid-job"}, Spec: corev1.PodSpec{
		NodeName: "host", RestartPolicy: corev1.RestartPolicyOnFailure, Containers: []corev1.Container{{Name: "c", Image: "exit", Args: []string{"0", "10"}}},
	}}
	c.add(job)
	h.until("the job succeeds", func() bool { return c.pod("job").Status.Phase == corev1.PodSucceeded })
	require.Equal(t, "Completed", c.pod("job").Status.ContainerStatuses[0].State.Terminated.Reason)
}

func TestWhatTheDaemonRefusesIsShown(t *testing.T) {
	h := newHost(t)
	c := newCluster(h)
	defer c.serve()()
	c.create("disk", "disk")
	c.is("disk", "refused", func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && s.State.Waiting.Reason == "CreateContainerError"
	})
	require.Contains(t, c.pod("disk").Status.ContainerStatuses[0].State.Waiting.Message, "does not match with manifest")
}

func TestAScratchDevice(t *testing.T) {
	h := newHost(t)
	c := newCluster(h)
	defer c.serve()()
	size := resource.MustParse("1Mi")
	c.add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "disk", UID: "uid-disk"}, Spec: corev1.PodSpec{
		NodeName: "host", RestartPolicy: corev1.RestartPolicyNever,
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}}},
		Containers: []corev1.Container{{Name: "c", Image: "disk", Args: []string{"write", "0", "x"},
			VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/storage"}}}},
	}})
	h.until("it ends", func() bool {
		phase := c.pod("disk").Status.Phase
		return phase == corev1.PodSucceeded || phase == corev1.PodFailed
	})
	require.Equal(t, corev1.PodSucceeded, c.pod("disk").Status.Phase, "%+v", c.pod("disk").Status)
	h.until("its device is removed", func() bool {
		blocks, err := h.Blocks(context.Background(), messages.Root)
		return err == nil && len(blocks) == 0
	})
}

func TestBlocksOfOthersAreLeftAlone(t *testing.T) {
	h := newHost(t)
	ctx := t.Context()
	one := name(t, "k8s:shop:one")
	require.NoError(t, h.MakeBlock(ctx, one, 1, "me"))
	require.NoError(t, h.MakeBlock(ctx, one, 1, "me"), "it is there")
	require.Error(t, h.MakeBlock(ctx, one, 1, "other"))
	require.NoError(t, h.RemoveBlock(ctx, one, "other"))
	blocks, err := h.Blocks(ctx, messages.Root)
	require.NoError(t, err)
	require.Len(t, blocks, 1)
	require.NoError(t, h.RemoveBlock(ctx, one, "me"))
	require.NoError(t, h.RemoveBlock(ctx, one, "me"), "it is gone")
}

func TestWhatAUnikernelPrints(t *testing.T) {
	h := newHost(t)
	c := newCluster(h)
	defer c.serve()()
	begun := time.Now()
	c.create("web", "hello", "--hello=logs")
	c.is("web", "running", running)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	enough := context.Canceled
	err := h.Lines(ctx, name(t, "k8s:shop:web"), begun, true, func(line messages.DataConsole) error {
		if strings.Contains(line.Line, "--hello=logs") {
			return enough
		}
		return nil
	})
	require.Equal(t, enough, err)
	var lines []string
	require.NoError(t, h.Lines(ctx, name(t, "k8s:shop:web"), begun, false, func(line messages.DataConsole) error {
		lines = append(lines, line.Line)
		return nil
	}))
	require.Contains(t, strings.Join(lines, "\n"), "--hello=logs")
}

func TestOneProviderForEachDaemon(t *testing.T) {
	h := newHost(t)
	release, err := h.Claim()
	require.NoError(t, err)
	_, err = daemon.Daemon{Dir: h.Dir}.Claim()
	require.ErrorIs(t, err, daemon.ErrClaimed)
	require.NoError(t, release())
	release, err = h.Claim()
	require.NoError(t, err)
	require.NoError(t, release())
}

func TestTheRootPolicyIsTheMachine(t *testing.T) {
	h := newHost(t)
	policy, err := h.Policy(t.Context(), messages.Root)
	require.NoError(t, err)
	require.Positive(t, policy.Memory)
	require.Contains(t, policy.CPUIDs, 0)
	_, err = h.Policy(t.Context(), "nowhere")
	require.EqualError(t, err, "the daemon has no policy for nowhere:")
}

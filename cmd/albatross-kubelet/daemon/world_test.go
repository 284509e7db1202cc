package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/cmd/albatross-kubelet/pods"
	"albatross/cmd/albatross-kubelet/provider"
	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/guests"
	"albatross/test/netns"
	"albatross/test/programs"
)

// patience bounds what must happen.
const patience = time.Minute

// bin is the directory of the programs.
var bin string

func TestMain(m *testing.M) {
	netns.Enter()
	os.Exit(inBin(m))
}

func inBin(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kubelet-bin")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	// The programs are of another module, whose root is above.
	here, err := os.Getwd()
	err = errors.Join(err, os.Chdir("../../.."), programs.Build(bin, "albatrossd", "albatross-tender", "albatross-tls-endpoint", "albatross-network"), os.Chmod(bin, 0o755), os.Chdir(here))
	if err != nil {
		panic(err)
	}
	return m.Run()
}

// A host is a daemon in a directory of its own.
type host struct {
	daemon.Daemon
	t   *testing.T
	cmd *exec.Cmd
	log *output
}

// An output is what a program says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func newHost(t *testing.T) *host {
	t.Helper()
	netns.Need(t)
	dir, err := os.MkdirTemp("", "kubelet")
	require.NoError(t, err)
	h := &host{Daemon: daemon.Daemon{Dir: dir}, t: t, log: &output{}}
	t.Cleanup(h.end)
	h.start()
	return h
}

func (h *host) start() {
	h.t.Helper()
	h.cmd = exec.Command(filepath.Join(bin, "albatrossd"), "--tmpdir", h.Dir, "--dbdir", filepath.Join(h.Dir, "db"), "--cgroup=", "--tender=builtin", "--no-keeper")
	h.cmd.Stdout, h.cmd.Stderr = h.log, h.log
	require.NoError(h.t, h.cmd.Start())
	h.until("the daemon answers", func() bool { return h.Ping(context.Background()) == nil })
}

// network makes a network in user mode, until the test ends.
func (h *host) network(network string) {
	h.t.Helper()
	give := func(command messages.Command) error {
		conn, err := client.Dial(context.Background(), filepath.Join(h.Dir, "util", "control.sock"))
		require.NoError(h.t, err)
		defer conn.Close()
		return conn.Do(context.Background(), name(h.t, network), command)
	}
	require.NoError(h.t, give(messages.NetworkCreate{Asked: messages.NetworkAsk{Backend: messages.UserNetwork}}))
	h.t.Cleanup(func() { require.NoError(h.t, give(messages.NetworkRemove{})) })
}

// stop ends the daemon by a signal; its unikernels go on.
func (h *host) stop(signal unix.Signal) {
	h.t.Helper()
	require.NoError(h.t, h.cmd.Process.Signal(signal))
	err := h.cmd.Wait()
	if signal != unix.SIGKILL {
		require.NoError(h.t, err, h.log.String())
	}
	h.cmd = nil
}

func (h *host) end() {
	defer os.RemoveAll(h.Dir)
	if h.cmd == nil {
		h.start()
	}
	ctx := context.Background()
	list, err := h.List(ctx, messages.Root)
	require.NoError(h.t, err)
	for _, u := range list {
		require.NoError(h.t, h.Destroy(ctx, u.Name))
	}
	if h.t.Failed() {
		h.t.Log(h.log.String())
	}
	h.stop(unix.SIGTERM)
}

// until waits for what must happen.
func (h *host) until(what string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		require.True(h.t, time.Now().Before(deadline), "%s: it does not happen\n%s", what, h.log)
	}
}

// A cluster is an API server that is made up.
type cluster struct {
	h      *host
	via    daemon.Daemon // how the provider asks the daemon
	api    *fake.Clientset
	events *record.FakeRecorder
}

func newCluster(h *host) *cluster {
	return &cluster{h: h, via: h.Daemon, api: fake.NewClientset(), events: record.NewFakeRecorder(1000)}
}

// serve starts a provider. It ends when the test calls the result.
func (c *cluster) serve(networks ...string) (stop func()) {
	t := c.h.t
	t.Helper()
	p, err := provider.New(provider.Config{
		Client: c.api, Host: c.via, Events: c.events, Node: "host", HostIP: "192.0.2.1", Cluster: "01234567",
		Settings: pods.Settings{Path: "k8s", Networks: networks, CPUs: []int{0}},
		Fetch:    fetchGuest,
		Reached:  func(string) bool { return true },
		Log:      slog.New(slog.NewTextHandler(c.h.log, nil)),
		Now:      time.Now,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// fetchGuest returns the guest of a name.
func fetchGuest(_ context.Context, reference string) (provider.Image, error) {
	image := provider.Image{Contents: guests.Image(reference, "spt")}
	if reference == "web" || reference == "net" {
		image.Networks = []string{"service"}
	}
	return image, nil
}

func (c *cluster) create(name, image string, args ...string) *corev1.Pod {
	c.h.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PodSpec{
			NodeName: "host", RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: "c", Image: image, Args: args}},
		},
	}
	return c.add(p)
}

func (c *cluster) add(p *corev1.Pod) *corev1.Pod {
	c.h.t.Helper()
	p, err := c.api.CoreV1().Pods(p.Namespace).Create(context.Background(), p, metav1.CreateOptions{})
	require.NoError(c.h.t, err)
	return p
}

func (c *cluster) pod(name string) *corev1.Pod {
	p, err := c.api.CoreV1().Pods("shop").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return p
}

// is waits until the container of a pod satisfies a condition.
func (c *cluster) is(name, what string, holds func(corev1.ContainerStatus) bool) {
	c.h.t.Helper()
	c.h.until(name+" is "+what, func() bool {
		p := c.pod(name)
		return p != nil && len(p.Status.ContainerStatuses) == 1 && holds(p.Status.ContainerStatuses[0])
	})
}

// event waits for an event with a text.
func (c *cluster) event(text string) {
	c.h.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-c.events.Events:
			if strings.Contains(e, text) {
				return
			}
		case <-deadline:
			require.FailNow(c.h.t, "there is no event "+text)
		}
	}
}

func running(c corev1.ContainerStatus) bool { return c.State.Running != nil && c.Ready }

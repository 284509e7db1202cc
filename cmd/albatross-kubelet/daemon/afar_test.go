package daemon_test

import (
	"context"
	"crypto"
	"os"
	"os/exec"
	"path/filepath"
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
	"albatross/sockets/certificate"
)

// tenant limits who asks from afar.
var tenant = messages.Policy{Unikernels: 5, CPUIDs: []int{0}, Memory: 256, Block: messages.Some(10), Bridges: []string{"tenant.pods"}}

// life is that of the certificates in these tests.
const life = time.Hour

// An endpoint is the program in front of a host, and the files of those who use it.
type endpoint struct {
	h   *host
	dir string
	cmd *exec.Cmd
}

// newEndpoint starts an endpoint, for a tenant.
func newEndpoint(h *host) *endpoint {
	h.t.Helper()
	e := &endpoint{h: h, dir: h.t.TempDir()}
	root, err := certificate.NewRoot("root", e.key("root.key"), time.Now(), life)
	require.NoError(h.t, err)
	server, err := root.IssueServer("server", e.key("server.key").Public(), time.Now(), life, "127.0.0.1")
	require.NoError(h.t, err)
	own, err := root.Issue(certificate.Request{Name: "tenant", Command: messages.PolicyAdd{Policy: tenant}, Key: e.key("ca.key").Public()}, time.Now(), life)
	require.NoError(h.t, err)
	for name, chain := range map[string]certificate.Chain{"cacert.pem": root.Chain, "server.pem": server, "ca.pem": own} {
		require.NoError(h.t, os.WriteFile(e.path(name), chain.Encode(), 0o600))
	}
	h.t.Cleanup(func() { e.stop(unix.SIGTERM) })
	e.start()
	return e
}

func (e *endpoint) path(name string) string { return filepath.Join(e.dir, name) }

// key makes a private key, also as a file.
func (e *endpoint) key(name string) crypto.Signer {
	e.h.t.Helper()
	key, err := certificate.Ed25519.Generate()
	require.NoError(e.h.t, err)
	text, err := certificate.EncodeKey(key)
	require.NoError(e.h.t, err)
	require.NoError(e.h.t, os.WriteFile(e.path(name), text, 0o600))
	return key
}

func (e *endpoint) start() {
	e.h.t.Helper()
	e.cmd = exec.Command(filepath.Join(bin, "albatross-tls-endpoint"), e.path("cacert.pem"), e.path("server.pem"), e.path("server.key"),
		"--ip=127.0.0.1", "--port=1025", "--tmpdir", e.h.Dir, "--spool", e.dir)
	e.cmd.Stdout, e.cmd.Stderr = e.h.log, e.h.log
	require.NoError(e.h.t, e.cmd.Start())
	e.h.until("the endpoint answers", func() bool { return e.daemon().Ping(context.Background()) == nil })
}

func (e *endpoint) stop(signal unix.Signal) {
	if e.cmd != nil {
		_ = e.cmd.Process.Signal(signal)
		_ = e.cmd.Wait()
		e.cmd = nil
	}
}

// daemon returns the daemon as the tenant reaches it.
func (e *endpoint) daemon() daemon.Daemon {
	at := &daemon.Endpoint{Address: "127.0.0.1:1025", CA: e.path("ca.pem"), CAKey: e.path("ca.key"), ServerCA: e.path("cacert.pem")}
	e.h.t.Cleanup(at.Close)
	return daemon.Daemon{Afar: at}
}

// TestPodsFromAfar: pods of a provider on another machine, also when the endpoint is started anew.
func TestPodsFromAfar(t *testing.T) {
	h := newHost(t)
	e := newEndpoint(h)
	c := newCluster(h)
	c.via = e.daemon()
	policy, err := c.via.Policy(t.Context(), messages.Root)
	require.NoError(t, err)
	require.Equal(t, tenant, policy, "of the certificate")
	stop := c.serve()
	defer func() { stop() }()

	c.create("web", "hello", "--hello=afar")
	c.is("web", "running", running)
	web, known, err := h.Find(t.Context(), name(t, "tenant:k8s:shop:web"))
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, messages.StateRunning, web.State)
	h.until("its log is read", func() bool {
		var lines []string
		err := c.via.Lines(t.Context(), name(t, "k8s:shop:web"), time.Unix(0, 0), false, func(line messages.DataConsole) error {
			lines = append(lines, line.Line)
			return nil
		})
		return err == nil && strings.Contains(strings.Join(lines, "\n"), "--hello=afar")
	})
	size := resource.MustParse("1Mi")
	c.add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "disk", UID: "uid-disk"}, Spec: corev1.PodSpec{
		NodeName: "host", RestartPolicy: corev1.RestartPolicyNever,
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}}},
		Containers: []corev1.Container{{Name: "c", Image: "disk", Args: []string{"write", "0", "x"},
			VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/storage"}}}},
	}})
	h.until("a job with a scratch device succeeds", func() bool { return c.pod("disk").Status.Phase == corev1.PodSucceeded })
	h.until("its device is removed", func() bool {
		blocks, err := h.Blocks(context.Background(), messages.Root)
		return err == nil && len(blocks) == 0
	})

	e.stop(unix.SIGKILL)
	e.start()
	c.create("mail", "exit", "3", "10")
	c.event("the unikernel has ended: exit 3")
	c.is("mail", "started again", func(s corev1.ContainerStatus) bool { return s.RestartCount >= 1 })
	same, _, err := h.Find(t.Context(), name(t, "tenant:k8s:shop:web"))
	require.NoError(t, err)
	require.Equal(t, web.PID, same.PID, "it has run all the time")
	for _, pod := range []string{"web", "mail", "disk"} {
		require.NoError(t, c.api.CoreV1().Pods("shop").Delete(t.Context(), pod, metav1.DeleteOptions{}))
	}
	h.until("nothing runs any more", func() bool {
		list, err := h.List(context.Background(), messages.Root)
		for _, u := range list {
			if u.State != messages.StateEnded {
				return false
			}
		}
		return err == nil
	})
}

// TestNetworksFromAfar: they are known by the names that policies have for them.
func TestNetworksFromAfar(t *testing.T) {
	h := newHost(t)
	via := newEndpoint(h).daemon()
	h.network("tenant:pods")
	networks, err := via.Networks(t.Context())
	require.NoError(t, err)
	require.Contains(t, networks, "tenant.pods")
	h.network("others")
	networks, err = via.Networks(t.Context())
	require.NoError(t, err)
	require.Len(t, networks, 1)
}

// TestCertificatesThatAreNone says which file is to be mended.
func TestCertificatesThatAreNone(t *testing.T) {
	h := newHost(t)
	e := newEndpoint(h)
	for file, says := range map[string]string{"ca.pem": "ca.pem", "ca.key": "ca.key", "cacert.pem": "cacert.pem"} {
		text, err := os.ReadFile(e.path(file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(e.path(file), []byte("nothing"), 0o600))
		require.ErrorContains(t, e.daemon().Ping(t.Context()), says)
		require.NoError(t, os.WriteFile(e.path(file), text, 0o600))
	}
	require.NoError(t, e.daemon().Ping(t.Context()))
}

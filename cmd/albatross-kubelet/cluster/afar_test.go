package cluster

import (
	"context"
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// endpoint starts an endpoint before the daemon, and writes the certificates of a tenant.
func (n *node) endpoint(tenant string, policy messages.Policy) (dir string) {
	n.t.Helper()
	dir = n.t.TempDir()
	key := func(name string) crypto.Signer {
		key, err := certificate.Ed25519.Generate()
		require.NoError(n.t, err)
		text, err := certificate.EncodeKey(key)
		require.NoError(n.t, err)
		require.NoError(n.t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		return key
	}
	now := time.Now()
	root, err := certificate.NewRoot("root", key("root.key"), now, valid)
	require.NoError(n.t, err)
	server, err := root.IssueServer("server", key("server.key").Public(), now, valid, nodeIP)
	require.NoError(n.t, err)
	own, err := root.Issue(certificate.Request{Name: tenant, Command: messages.PolicyAdd{Policy: policy}, Key: key("ca.key").Public()}, now, valid)
	require.NoError(n.t, err)
	for name, chain := range map[string]certificate.Chain{"cacert.pem": root.Chain, "server.pem": server, "ca.pem": own} {
		require.NoError(n.t, os.WriteFile(filepath.Join(dir, name), chain.Encode(), 0o600))
	}
	program(n.t, n.daemon.Dir, "endpoint", filepath.Join(bin, "albatross-tls-endpoint"),
		filepath.Join(dir, "cacert.pem"), filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"),
		"--ip="+nodeIP, "--port=1025", "--tmpdir", n.daemon.Dir, "--spool", n.daemon.Dir)
	return dir
}

// TestFromAfar: the provider of deployment.yaml, which asks the daemon through its endpoint, and is killed.
func TestFromAfar(t *testing.T) {
	n := startHost(t, startControlPlane(t))
	n.awaitAccount("default")
	n.network("k8s:pods", messages.NetworkAsk{})
	dir := n.endpoint("k8s", messages.Policy{Unikernels: 10, CPUIDs: []int{0}, Memory: 512, Bridges: []string{"k8s.pods"}})
	n.provide("deployment.yaml", "--node-name="+nodeName, "--host-ip="+nodeIP, "--destination="+nodeIP+":1025",
		"--ca="+filepath.Join(dir, "ca.pem"), "--ca-key="+filepath.Join(dir, "ca.key"), "--server-ca="+filepath.Join(dir, "cacert.pem"))

	n.pod("web", n.push("web", "1"), func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt(80)}}}
	})
	n.is("web", "ready, with an address", func(p *corev1.Pod, c corev1.ContainerStatus) bool { return c.Ready && p.Status.PodIP != "" })
	n.until("it prints", func(context.Context) bool { return strings.TrimSpace(n.logs("web", corev1.PodLogOptions{})) != "" })
	before := n.pids()
	require.Len(t, before, 1)
	require.Contains(t, before, "k8s:default:web")

	n.provider.stop(unix.SIGKILL)
	n.provider.start()
	n.pod("more", n.push("hello", "1"), func(*corev1.Pod) {})
	n.is("more", "ready, when the claim of the former provider has run out", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.Ready })
	n.isSame(before)
}

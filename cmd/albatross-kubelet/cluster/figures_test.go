package cluster

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
)

// idleTime is how long it is counted what a provider asks while nothing happens.
const idleTime = 2 * time.Minute

// TestFigures measures how long pods take to be ready, and what a provider with 100 of them costs.
func TestFigures(t *testing.T) {
	n := startNode(t, startControlPlane(t))
	n.awaitAccount("default")
	web := n.push("web", "1")
	n.deploy("one", web, 1)
	t.Logf("1 pod is ready after %v", n.settles("one", 1).Round(time.Millisecond))
	n.deploy("web", web, 100)
	t.Logf("100 pods are ready after %v", n.settles("web", 100).Round(time.Millisecond))

	calls := n.counted()
	n.deploy("another", web, 1)
	n.settles("another", 1)
	time.Sleep(lull)
	calls.Store(0)
	time.Sleep(idleTime)
	t.Logf("idle with 102 pods: %.1f requests a minute, %s", float64(calls.Load())/idleTime.Minutes(), n.memory())
}

// lull is how long the provider has to come to rest.
const lull = 10 * time.Second

// counted starts the provider again, so that its requests are counted.
func (n *node) counted() *atomic.Int64 {
	n.t.Helper()
	calls := &atomic.Int64{}
	to, err := url.Parse(apiServer)
	require.NoError(n.t, err)
	transport, err := rest.TransportFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAFile: n.authority.file}})
	require.NoError(n.t, err)
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		calls.Add(1)
	}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(proxy.ServeHTTP))
	pair := n.authority.issue("proxy", pkix.Name{CommonName: "proxy"}, "127.0.0.1")
	certificate, err := tls.LoadX509KeyPair(pair.cert, pair.key)
	require.NoError(n.t, err)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	n.t.Cleanup(server.CloseClientConnections)
	for i, arg := range n.provider.args {
		if arg == "--kubeconfig" {
			text, err := os.ReadFile(n.provider.args[i+1])
			require.NoError(n.t, err)
			require.NoError(n.t, os.WriteFile(n.provider.args[i+1], []byte(strings.ReplaceAll(string(text), apiServer, server.URL)), 0o600))
		}
	}
	n.provider.stop(unix.SIGKILL)
	n.provider.start()
	return calls
}

// memory returns what the provider has in memory.
func (n *node) memory() string {
	n.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.provider.cmd.Process.Pid))
	require.NoError(n.t, err)
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "VmRSS:") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "?"
}

package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"albatross/messages"
	"albatross/test/netns"
)

// The link between the host and another node of the cluster.
const (
	linkHere, linkThere       = "link0", "link1"
	addressHere, addressThere = "198.51.100.1", "198.51.100.2"
)

// anotherNode makes a machine that has a link with the host, and the routes of a cluster: to the host, and
// through it to a subnet.
func (n *node) anotherNode(podCIDR string) *netns.Namespace {
	n.t.Helper()
	other := netns.New(n.t)
	address := func(link, ip string) {
		l, err := netlink.LinkByName(link)
		require.NoError(n.t, err)
		parsed, err := netlink.ParseAddr(ip + "/24")
		require.NoError(n.t, err)
		require.NoError(n.t, netlink.AddrAdd(l, parsed))
		require.NoError(n.t, netlink.LinkSetUp(l))
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: linkHere}, PeerName: linkThere, PeerNamespace: netlink.NsFd(other.Descriptor())}
	require.NoError(n.t, netlink.LinkAdd(pair))
	n.t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	address(linkHere, addressHere)
	other.Do(func() {
		address(linkThere, addressThere)
		for _, to := range []string{nodeIP + "/32", podCIDR} {
			_, subnet, err := net.ParseCIDR(to)
			require.NoError(n.t, err)
			require.NoError(n.t, netlink.RouteAdd(&netlink.Route{Dst: subnet, Gw: net.ParseIP(addressHere)}))
		}
	})
	return other
}

// serves checks that a server of HTTP is reached from a machine.
func (n *node) serves(from *netns.Namespace, address string) {
	n.t.Helper()
	conn := from.Dial("tcp", address)
	defer conn.Close()
	require.NoError(n.t, conn.SetDeadline(time.Now().Add(patience)))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	answer, err := client.Get("http://" + address + "/")
	require.NoError(n.t, err)
	defer answer.Body.Close()
	require.Equal(n.t, http.StatusOK, answer.StatusCode)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(n.t, err)
}

// TestReachingPods: from another node, by the address of a pod and by a port of the host.
func TestReachingPods(t *testing.T) {
	n := startHost(t, startControlPlane(t))
	n.awaitAccount("default")
	subnet := netip.MustParsePrefix("10.89.0.0/24")
	other := n.anotherNode(subnet.String()) // the daemon lets pass what arrives at links that there are
	n.network("pods", messages.NetworkAsk{Subnet: subnet, NoNAT: true})
	n.provide("daemonset.yaml", "--tmpdir", n.daemon.Dir)
	const hostPort = 8080
	n.pod("web", n.push("web", "1"), func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: hostPort}}
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt(80)}}}
	})
	var ip string
	n.is("web", "ready, with an address", func(p *corev1.Pod, c corev1.ContainerStatus) bool {
		ip = p.Status.PodIP
		return c.Ready && ip != "" && p.Status.HostIP == nodeIP
	})
	node, err := n.admin.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, subnet.String(), node.Spec.PodCIDR, "that is what others make a route of")
	require.True(t, subnet.Contains(netip.MustParseAddr(ip)))
	n.serves(other, net.JoinHostPort(ip, "80"))
	n.serves(other, fmt.Sprintf("%s:%d", nodeIP, hostPort))
}

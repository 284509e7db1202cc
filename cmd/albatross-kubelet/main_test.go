package main

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/sockets/registry"
	"albatross/test/guests"
)

// given returns a command line that can be used, with a change.
func given(change func(*options)) options {
	o := options{nodeName: "host", listen: ":10250", maxPods: 10, taints: []string{"a=b:NoSchedule"}, labels: []string{"zone=1"}}
	change(&o)
	return o
}

func TestTheCommandLine(t *testing.T) {
	s, err := given(func(o *options) { o.path, o.nodeIP, o.listen = "k8s:pods", "192.0.2.1", "192.0.2.1:7" }).check()
	require.NoError(t, err)
	require.EqualValues(t, 7, s.port)
	require.Equal(t, "k8s:pods", s.path.String())
	require.Equal(t, map[string]string{"zone": "1"}, s.labels)
	require.Equal(t, "a", s.taints[0].Key)
	require.Equal(t, "192.0.2.1", s.hostIP, "that of the node")
	require.Nil(t, s.endpoint)
	require.False(t, s.published.IsValid(), "ports of this host are at loopback")
	s, err = given(func(o *options) { o.taints = []string{""} }).check()
	require.NoError(t, err)
	require.Empty(t, s.taints)
	s, err = given(func(o *options) {
		o.afar, o.nodeIP, o.hostIP, o.ca = "host.example:1025", "10.0.0.7", "192.0.2.1", "mine.pem"
	}).check()
	require.NoError(t, err)
	require.Equal(t, "host.example:1025", s.endpoint.Address)
	require.Equal(t, "mine.pem", s.endpoint.CA)
	require.Equal(t, netip.MustParseAddr("192.0.2.1"), s.published)
	for says, change := range map[string]func(*options){
		`cannot use --node-name "A B": `:                         func(o *options) { o.nodeName = "A B" },
		`cannot use --path "-": `:                                func(o *options) { o.path = "-" },
		`cannot use --node-ip "here": it is no address`:          func(o *options) { o.nodeIP = "here" },
		`cannot use --host-ip "here": it is no address`:          func(o *options) { o.hostIP = "here" },
		`cannot use --destination "host": it is not HOST:PORT`:   func(o *options) { o.afar = "host" },
		`cannot use --listen "10250": it is not [ADDRESS]:PORT`:  func(o *options) { o.listen = "10250" },
		`cannot use --listen ":0": it is not [ADDRESS]:PORT`:     func(o *options) { o.listen = ":0" },
		`cannot use --tls-cert and --tls-key without each other`: func(o *options) { o.cert = "x" },
		`cannot use --taint "x": "x" is not KEY=VALUE:EFFECT`:    func(o *options) { o.taints = []string{"x"} },
		`cannot use --label "x": it is not KEY=VALUE`:            func(o *options) { o.labels = []string{"x"} },
		`cannot use --max-pods: it is from 1 on`:                 func(o *options) { o.maxPods = 0 },
	} {
		_, err := given(change).check()
		require.ErrorContains(t, err, says)
	}
}

// TestWhichSubnetIsRouted: others reach addresses on the first network, if there is no NAT.
func TestWhichSubnetIsRouted(t *testing.T) {
	subnet := netip.MustParsePrefix("10.1.0.0/24")
	for _, c := range []struct {
		network daemon.Network
		subnets []netip.Prefix
	}{
		{daemon.Network{Subnet: subnet, Kernel: true, Routed: true}, []netip.Prefix{subnet}},
		{daemon.Network{Subnet: subnet, Kernel: true}, nil},
		{daemon.Network{Subnet: subnet}, nil},
	} {
		h := &host{setup: setup{options: options{networks: []string{"pods", "others"}}}}
		require.Empty(t, h.subnets(), "nothing is known yet")
		h.networks.Store(&map[string]daemon.Network{"pods": c.network})
		require.Equal(t, c.subnets, h.subnets())
		require.Equal(t, c.network.Kernel, h.reached("pods"))
	}
}

// TestImages: an image comes from a registry with what it says about itself.
func TestImages(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	name := strings.TrimPrefix(server.URL, "http://") + "/web:1"
	reference, err := registry.ParseReference(registry.Scheme + name)
	require.NoError(t, err)
	client := registry.New(registry.Options{})
	defer client.Close()
	pushed := []registry.Image{{Target: "spt", Architecture: runtime.GOARCH, Contents: guests.Image("web", "spt"), Memory: 48, Arguments: []string{"-v"}}}
	_, err = client.Push(t.Context(), reference, pushed, nil)
	require.NoError(t, err)
	image, err := fetchFrom(client, []string{"hvt", "spt"})(context.Background(), name)
	require.NoError(t, err)
	require.Equal(t, pushed[0].Contents, image.Contents)
	require.Equal(t, 48, image.Memory)
	require.Equal(t, []string{"-v"}, image.Arguments)
	require.Equal(t, []string{"service"}, image.Networks)
	for _, wrong := range []string{"no such:thing", strings.TrimSuffix(name, "1") + "2"} {
		_, err = fetchFrom(client, []string{"spt"})(context.Background(), wrong)
		require.Error(t, err, wrong)
	}
	_, err = fetchFrom(client, []string{"hvt"})(context.Background(), name)
	require.ErrorContains(t, err, "hvt")
}

package provider

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"albatross/messages"
)

// TestWhereAProbeAsks: published ports are those of the host of the daemon, which may be another machine.
func TestWhereAProbeAsks(t *testing.T) {
	published := messages.Arguments{Publish: []messages.Publication{{From: 8080, To: 80}}}
	leased := messages.Arguments{Networks: []messages.Network{{Leases: []netip.Addr{netip.MustParseAddr("10.89.0.2")}}}}
	there := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		args      messages.Arguments
		published netip.Addr
		at        string
	}{
		{published, netip.Addr{}, "127.0.0.1:8080"},
		{published, there, "192.0.2.1:8080"},
		{leased, netip.Addr{}, "10.89.0.2:80"},
		{leased, there, "10.89.0.2:80"},
	} {
		at, err := probing{container: &corev1.Container{}, args: c.args, published: c.published}.address("", intstr.FromInt(80))
		require.NoError(t, err)
		require.Equal(t, c.at, at)
	}
}

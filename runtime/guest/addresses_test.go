package guest

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// TestAddressesAsArguments: those of the first device have no name before them.
func TestAddressesAsArguments(t *testing.T) {
	spec := messages.NetworkSpec{Gateway: netip.MustParsePrefix("10.0.0.1/24"), Gateway6: netip.MustParsePrefix("fd00::1/64")}
	specs := func(bridge string) (messages.NetworkSpec, bool) { return spec, bridge == "net" }
	on := func(name, bridge string, static bool, leases ...string) messages.Network {
		n := messages.Network{Name: name, Bridge: messages.Some(bridge), Static: static}
		for _, a := range leases {
			n.Leases = append(n.Leases, netip.MustParseAddr(a))
		}
		return n
	}
	require.Equal(t, []string{
		"--ipv4=10.0.0.7/24", "--ipv4-gateway=10.0.0.1", "--ipv6=fd00::7/64", "--ipv6-gateway=fd00::1",
		"--other-ipv4=10.0.0.8/24", "--other-ipv4-gateway=10.0.0.1",
	}, addresses(specs, []messages.Network{
		on("service", "net", true, "10.0.0.7", "fd00::7"),
		on("by-dhcp", "net", false, "10.0.0.9"),
		on("other", "net", true, "10.0.0.8"),
		on("elsewhere", "br0", true, "10.0.0.10"),
	}))
}

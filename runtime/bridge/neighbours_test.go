package bridge

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// TestAnAddressThatAnotherStationHad: the host does not send to the former one any more.
func TestAnAddressThatAnotherStationHad(t *testing.T) {
	w := newWorld(t)
	w.up(service6(), nil)
	link, err := find(service6().Name)
	require.NoError(t, err)
	address := netip.MustParseAddr("10.90.0.9")
	former := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	require.NoError(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: unix.NUD_REACHABLE, IP: address.AsSlice(), HardwareAddr: former}))
	now := messages.MAC{2, 0, 0, 0, 0, 2}
	require.NoError(t, w.backend.Allow(service6().Name, Station{Tap: "tap99", MAC: now, Addresses: []netip.Addr{address}}))
	list, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	require.NoError(t, err)
	found := map[string]string{}
	for _, n := range list {
		found[n.IP.String()] = n.HardwareAddr.String()
	}
	require.Equal(t, now.String(), found[address.String()])
}

package netns

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// maxPorts is how many ports a bridge can have.
	maxPorts = 1023
	// portGroup is the group of the ports of a full bridge, which are removed at once.
	portGroup = 7
)

// FullBridge makes a bridge that has all the ports that it can have, until the end
// of the test.
func FullBridge(t testing.TB, name string) {
	t.Helper()
	Bridge(t, name)
	t.Cleanup(func() { require.NoError(t, removeGroup()) })
	fill(t, name)
}

// fill gives a bridge all the ports that it can have.
func fill(t testing.TB, name string) {
	t.Helper()
	master, err := netlink.LinkByName(name)
	require.NoError(t, err)
	for i := 0; i < maxPorts; i += 2 {
		pair := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("full%d", i), Group: portGroup, MasterIndex: master.Attrs().Index},
			PeerName:  fmt.Sprintf("full%d", i+1),
		}
		require.NoError(t, netlink.LinkAdd(pair))
		if i+1 < maxPorts {
			peer, err := netlink.LinkByName(pair.PeerName)
			require.NoError(t, err)
			require.NoError(t, netlink.LinkSetMaster(peer, master))
		}
	}
}

// removeGroup removes all ports at once, which takes no longer than one.
func removeGroup() error {
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(portGroup)))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

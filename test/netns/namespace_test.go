package netns

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// TestANamespaceBesideTheTests has what is made in it, and nothing else.
func TestANamespaceBesideTheTests(t *testing.T) {
	here, err := netlink.LinkList()
	require.NoError(t, err)
	n := New(t)
	require.Len(t, n.Links(), 1, "lo")
	n.Bridge("bridge")
	n.Port("bridge")
	require.Len(t, n.Links(), 3)
	listener := n.Listen("127.0.0.1:0")
	_, err = net.Dial("tcp", listener.Addr().String())
	require.Error(t, err, "that is in the namespace")
	require.NoError(t, n.Dial("tcp4", listener.Addr().String()).Close())
	after, err := netlink.LinkList()
	require.NoError(t, err)
	require.Len(t, after, len(here))

	other := New(t)
	require.Len(t, other.Links(), 1)
	other.Do(func() {
		_, err := netlink.LinkByName("bridge")
		require.ErrorAs(t, err, new(netlink.LinkNotFoundError))
	})
}

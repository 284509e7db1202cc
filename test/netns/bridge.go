package netns

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// Bridge makes a bridge that is up. It is removed at the end of the test.
func Bridge(t testing.TB, name string) {
	t.Helper()
	Need(t)
	bridge := makeBridge(t, name)
	t.Cleanup(func() { require.NoError(t, netlink.LinkDel(bridge)) })
}

func makeBridge(t testing.TB, name string) *netlink.Bridge {
	t.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = name
	require.NoError(t, netlink.LinkAdd(bridge))
	require.NoError(t, netlink.LinkSetUp(bridge))
	return bridge
}

// Ports returns the names of the interfaces on a bridge, in order.
func Ports(t testing.TB, bridge string) []string {
	t.Helper()
	Need(t)
	entries, err := os.ReadDir(filepath.Join("/sys/class/net", bridge, "brif"))
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

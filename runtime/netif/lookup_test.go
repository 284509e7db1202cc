package netif_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/messages"
	"albatross/runtime/netif"
	"albatross/test/netns"
)

// TestFindTap: only a tap on that bridge counts as one of a unikernel.
func TestFindTap(t *testing.T) {
	netns.Bridge(t, bridge)
	netns.Bridge(t, "other")
	tap := made(t).Link()
	loose := add(t, &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "loose"}, Mode: netlink.TUNTAP_MODE_TAP})

	found, err := netif.FindTap(tap.Name, bridge)
	require.NoError(t, err)
	require.Equal(t, tap, found)
	for why, asked := range map[string][2]string{
		"cannot use interface nothing: no such interface":                  {"nothing", bridge},
		"cannot use interface other: it is not a tap":                      {"other", bridge},
		"cannot use interface loose: it is not on bridge service":          {loose.Name, bridge},
		"cannot use interface " + tap.Name + ": it is not on bridge other": {tap.Name, "other"},
		"cannot use interface loose: interface none does not exist":        {loose.Name, "none"},
	} {
		link, err := netif.FindTap(asked[0], asked[1])
		require.EqualError(t, err, why)
		require.Equal(t, messages.Link{}, link)
	}
}

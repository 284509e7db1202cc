package netif_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/messages"
	"albatross/runtime/netif"
	"albatross/test/netns"
)

func TestRemove(t *testing.T) {
	netns.Bridge(t, bridge)
	tap := made(t)
	require.NoError(t, tap.Keep())
	other := made(t)
	require.NoError(t, netif.Remove(tap.Link()))
	require.False(t, exists(t, tap.Link()))
	require.Equal(t, []string{"vmmtap1"}, netns.Ports(t, bridge))
	require.NoError(t, netif.Remove(tap.Link()), "again")

	next := made(t)
	require.Equal(t, tap.Link().Name, next.Link().Name)
	require.NoError(t, netif.Remove(tap.Link()))
	require.True(t, exists(t, next.Link()), "the name is that of another now")
	require.True(t, exists(t, other.Link()))
}

func TestRemoveOfOneInUse(t *testing.T) {
	netns.Bridge(t, bridge)
	tap := made(t)
	require.NoError(t, tap.Keep())
	netns.OpenPort(t, tap.Link().Name)
	require.NoError(t, netif.Remove(tap.Link()))
	requireNoTap(t)
}

func TestRemoveLeavesWhatIsNotMeant(t *testing.T) {
	netns.Bridge(t, bridge)
	tap := made(t).Link()
	veth := add(t, &netlink.Veth{LinkAttrs: named("vmmtap1"), PeerName: "vmmtap2"})
	tun := add(t, &netlink.Tuntap{LinkAttrs: named("vmmtap3"), Mode: netlink.TUNTAP_MODE_TUN})
	parent := named("vmmtap4")
	parent.ParentIndex = veth.Index
	macvtap := add(t, &netlink.Macvtap{Macvlan: netlink.Macvlan{LinkAttrs: parent}})
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	all := func() (links []messages.Link) {
		list, err := netlink.LinkList()
		require.NoError(t, err)
		for _, link := range list {
			links = append(links, messages.Link{Name: link.Attrs().Name, Index: link.Attrs().Index})
		}
		return links
	}
	before := all()
	for _, record := range []messages.Link{
		veth, tun, macvtap, // these are no taps
		{Name: "lo", Index: lo.Attrs().Index},
		{Name: "vmmtap1", Index: tap.Index}, // their names are those of other interfaces
		{Name: "vmmtap9", Index: tap.Index},
		{Name: "vmmtap", Index: tap.Index},
		{Name: "vmmtap0\x00", Index: tap.Index},
		{Name: "", Index: tap.Index},
		{Name: "vmmtap0", Index: veth.Index}, // their indices are those of other interfaces
		{Name: "vmmtap0", Index: 99999},
		{Name: "vmmtap0", Index: 0},
		{Name: "vmmtap0", Index: -1},
		{Name: "vmmtap0", Index: -tap.Index},
		{Name: "vmmtap0", Index: 1<<32 + tap.Index},
		{Name: "vmmtap0", Index: math.MaxInt32},
		{Name: "vmmtap0", Index: math.MinInt64},
		{Name: "vmmtap0", Index: math.MaxInt64},
		{},
	} {
		require.NoError(t, netif.Remove(record), "%v", record)
		require.Equal(t, before, all(), "%v", record)
	}
	require.NoError(t, netif.Remove(tap))
	require.False(t, exists(t, tap))
}

func TestRemoveOfARenamedOne(t *testing.T) {
	netns.Bridge(t, bridge)
	tap := made(t)
	link, err := netlink.LinkByIndex(tap.Link().Index)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetName(link, "mine"))
	require.NoError(t, netif.Remove(tap.Link()))
	require.True(t, exists(t, tap.Link()))
	require.NoError(t, tap.Close(), "with which it vanishes all the same")
	require.False(t, exists(t, tap.Link()))
}

package netif_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/runtime/netif"
	"albatross/test/netns"
)

// port adds a port to the bridge, such as a network card.
func port(t *testing.T, name, address string, mtu int) {
	t.Helper()
	master, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	attrs := named(name)
	attrs.MTU, attrs.MasterIndex = mtu, master.Attrs().Index
	attrs.HardwareAddr, err = net.ParseMAC(address)
	require.NoError(t, err)
	add(t, &netlink.Ifb{LinkAttrs: attrs})
}

// TestATapDoesNotLowerTheMTU of its bridge, which is the lowest of its ports
// unless it was set.
func TestATapDoesNotLowerTheMTU(t *testing.T) {
	netns.Bridge(t, bridge)
	port(t, "card", "02:00:00:00:00:02", 9000)
	require.Equal(t, "9000", show(t, bridge, "mtu"))
	tap := made(t)
	require.Equal(t, "9000", show(t, bridge, "mtu"))
	require.Equal(t, "9000", show(t, tap.Link().Name, "mtu"))
	require.NoError(t, tap.Close())
	require.Equal(t, "9000", show(t, bridge, "mtu"))

	link, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	for mtu, want := range map[int]string{1280: "1280", 68: "68", 65521: "65521", 65535: "65521"} {
		require.NoError(t, netlink.LinkSetMTU(link, mtu))
		tap := made(t)
		require.Equal(t, want, show(t, tap.Link().Name, "mtu"), "on a bridge of %d", mtu)
		require.NoError(t, tap.Close())
	}
}

// TestATapDoesNotChangeTheAddress of its bridge, which is the lowest of its ports unless it was
// set. Without other ports it is that of all taps.
func TestATapDoesNotChangeTheAddress(t *testing.T) {
	netns.Bridge(t, bridge)
	first := made(t)
	of := func() string { return show(t, bridge, "address") }
	require.Equal(t, "fe:ff:ff:ff:ff:ff", of())
	second := made(t)
	require.NoError(t, first.Close())
	require.Equal(t, "fe:ff:ff:ff:ff:ff", of())
	require.NoError(t, second.Close())

	// The lowest address, and the highest one except that of the taps.
	for _, card := range []string{"00:00:00:00:00:01", "fe:ff:ff:ff:ff:fe"} {
		t.Run(card, func(t *testing.T) {
			port(t, "card", card, 1500)
			require.Equal(t, card, of())
			taps := []*netif.Tap{made(t), made(t)}
			require.Equal(t, card, of())
			for _, tap := range taps {
				require.NoError(t, tap.Close())
				require.Equal(t, card, of())
			}
		})
	}
}

// TestTapsOfOneAddressAreToldApart: a frame goes where its receiver is, though all
// taps have the same address on the side of the host.
func TestTapsOfOneAddressAreToldApart(t *testing.T) {
	netns.Bridge(t, bridge)
	var ports []*netns.Port
	for range 3 {
		tap := made(t)
		require.NoError(t, tap.Keep())
		ports = append(ports, netns.OpenPort(t, tap.Link().Name))
	}
	const kind = "\x88\xb5"
	ports[0].Reach(ports[1], "\xff\xff\xff\xff\xff\xff"+"\x02port0"+kind+"where is port 1?")
	ports[1].Reach(ports[0], "\x02port0"+"\x02port1"+kind+"here")
	ports[2].Reach(ports[1], "\x02port1"+"\x02port2"+kind+"hello")
	ports[1].Reach(ports[2], "\x02port2"+"\x02port1"+kind+"hello")
}

// TestATapHasTheGroupOfItsBridge, before it is up.
func TestATapHasTheGroupOfItsBridge(t *testing.T) {
	netns.Bridge(t, bridge)
	require.Equal(t, "0", show(t, made(t).Link().Name, "netdev_group"))
	link, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetGroup(link, 1634467841))
	require.Equal(t, "1634467841", show(t, made(t).Link().Name, "netdev_group"))
}

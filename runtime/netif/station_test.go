package netif_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/messages"
	"albatross/runtime/netif"
	"albatross/test/netns"
)

func at(bridge string, mac string) messages.Station {
	return messages.Station{Bridge: bridge, MAC: messages.MAC([]byte(mac))}
}

// TestAddressesThatSomethingOnTheBridgeHas: the host, or a sender that the bridge has seen.
func TestAddressesThatSomethingOnTheBridgeHas(t *testing.T) {
	netns.Bridge(t, bridge)
	netns.Bridge(t, "other")
	port(t, "card", "02:00:00:00:00:02", 1500)
	link, err := netlink.LinkByName("other")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetHardwareAddr(link, []byte("\x02other")))
	const kind, free = "\x88\xb5", "\x02free!"
	require.NoError(t, netif.CheckFree(at(bridge, free)))
	speaker, hearer := netns.NewPort(t, bridge), netns.NewPort(t, bridge)
	speaker.Reach(hearer, "\xff\xff\xff\xff\xff\xff"+"\x02heard"+kind+"here I am")

	require.NoError(t, netif.CheckFree(at(bridge, free)))
	require.EqualError(t, netif.CheckFree(at(bridge, "\x02heard")),
		"cannot use the MAC address 02:68:65:61:72:64: something else has it on bridge service (give another one with --net NAME:BRIDGE@MAC; one that has gone is forgotten within minutes)")
	const hosts = "the host has it on bridge "
	require.ErrorContains(t, netif.CheckFree(at(bridge, "\x02\x00\x00\x00\x00\x02")), hosts+"service")
	require.ErrorContains(t, netif.CheckFree(at(bridge, "\xfe\xff\xff\xff\xff\xff")), hosts+"service", "that of all taps")
	require.ErrorContains(t, netif.CheckFree(at("other", "\x02other")), hosts+"other")
	for _, elsewhere := range []string{"\x02heard", "\x02\x00\x00\x00\x00\x02"} {
		require.NoError(t, netif.CheckFree(at("other", elsewhere)))
	}
	require.NoError(t, netif.CheckFree(at(bridge, "\x02other")))
	require.EqualError(t, netif.CheckFree(at("none", free)), "interface none does not exist")

	speaker.Close()
	require.NoError(t, netif.CheckFree(at(bridge, "\x02heard")), "its port is gone")
}

package netns

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestPorts(t *testing.T) {
	const one, two, local = "\x02port1", "\x02port2", "\x88\xb5"
	Bridge(t, "service")
	a, b := NewPort(t, "service"), NewPort(t, "service")
	require.Equal(t, []string{"port0", "port1"}, Ports(t, "service"))
	to, from := two+one+local, one+two+local
	a.Reach(b, to+"hello")
	b.Reach(a, from+strings.Repeat("x", 1500))
	a.Send(to + "another")
	require.False(t, b.arrives(to+"what nobody sent", time.Now().Add(patience)))
	a.Send(to + "another")
	a.Send(to + "this")
	b.Receive(to + "this")

	a.Close()
	b.Close()
	require.Empty(t, Ports(t, "service"))
}

// The test asks the host for the address of its bridge.
func TestAsk(t *testing.T) {
	const port, request, reply = "\x02port1", "\x00\x01", "\x00\x02"
	const portIP, hostIP = "\x0a\x00\x00\x02", "\x0a\x00\x00\x01"
	const arp, ethernet = "\x08\x06", "\x00\x01\x08\x00\x06\x04"
	Bridge(t, "service")
	bridge, err := netlink.LinkByName("service")
	require.NoError(t, err)
	address, err := netlink.ParseAddr("10.0.0.1/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrAdd(bridge, address))

	p := NewPort(t, "service")
	bridge, err = netlink.LinkByName("service") // its hardware address is that of a port now
	require.NoError(t, err)
	host := string(bridge.Attrs().HardwareAddr)
	p.Ask("\xff\xff\xff\xff\xff\xff"+port+arp+ethernet+request+port+portIP+"\x00\x00\x00\x00\x00\x00"+hostIP,
		port+host+arp+ethernet+reply+host+hostIP+port+portIP)
}

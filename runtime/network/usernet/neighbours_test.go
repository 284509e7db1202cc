package usernet

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/messages"
	"albatross/runtime/network/resolve"
	"albatross/runtime/network/wire"
	"albatross/test/netns"
	"albatross/test/station"
)

func config6() wire.Config {
	c := config()
	c.Gateway6 = netip.MustParsePrefix("fd00::1/64")
	return c
}

// sixth returns a station with the addresses that the daemon gives it on a network with IPv6.
func sixth(s wire.Station) wire.Station {
	s.Addresses = []netip.Addr{s.Addresses[0], s.MAC.Address6(config6().Gateway6)}
	return s
}

func host6(t testing.TB, n *Network, s wire.Station) *station.Host {
	t.Helper()
	return station.NewHost6(t, attach(t, n, s), s.MAC, n.config.MTU)
}

// outside6 gives the host an address of IPv6 that is not loopback.
func outside6(t testing.TB) {
	t.Helper()
	netns.Bridge(t, "outside")
	link, err := netlink.LinkByName("outside")
	require.NoError(t, err)
	address, err := netlink.ParseAddr("2001:db8::1/64")
	require.NoError(t, err)
	address.Flags |= 2 // IFA_F_NODAD: nobody else is there
	require.NoError(t, netlink.AddrAdd(link, address))
}

// solicitation is a question of web for an address, from another one.
func solicitation(source, target netip.Addr) []byte {
	return station.Packet6(web.MAC, allNodesMAC, source, allNodes, protocolICMPv6,
		slices.Concat([]byte{neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()))
}

func TestFramesOfIPv6(t *testing.T) {
	j, s := newJudge()
	j.config = config6()
	own, link, other, gateway := s.Addresses[1], web.MAC.Address6(messages.LinkLocal), addr("fd00::3"), addr("fd00::1")
	from := func(source, dest netip.Addr, to messages.MAC, next byte, content ...byte) []byte {
		return station.Packet6(web.MAC, to, source, dest, next, content)
	}
	udp, server := []byte{1, 0, 0, 80, 0, 8, 0, 0}, []byte{2, 35, 2, 34, 0, 8, 0, 0}
	fragment := func(next byte) []byte { return []byte{next, 0, 0, 1, 0, 0, 0, 1} }
	for name, tc := range map[string]struct {
		frame []byte
		want  bool
	}{
		"to a station":                 {from(own, other, db.MAC, protocolUDP, udp...), true},
		"from its link":                {from(link, other, db.MAC, protocolTCP), true},
		"a fragment":                   {from(own, other, db.MAC, protocolFragment, fragment(protocolUDP)...), true},
		"a ping":                       {from(own, other, db.MAC, protocolICMPv6, echoRequest, 0, 0, 0), true},
		"an error":                     {from(own, other, db.MAC, protocolICMPv6, 1, 0, 0, 0), true},
		"to the gateway":               {from(own, gateway, j.gateway, protocolUDP, udp...), true},
		"a ping to the gateway":        {from(own, gateway, j.gateway, protocolICMPv6, echoRequest, 0, 0, 0), true},
		"a ping to its link":           {from(link, j.gateway6(), j.gateway, protocolICMPv6, echoRequest, 0, 0, 0), true},
		"to the outside":               {from(own, addr("2001:db8::1"), j.gateway, protocolUDP, udp...), true},
		"a question":                   {solicitation(own, other), true},
		"a question before an address": {solicitation(addr("::"), own), true},
		"of another":                   {from(other, own, db.MAC, protocolUDP, udp...), false},
		"of another link":              {from(addr("fe80::1"), other, db.MAC, protocolUDP, udp...), false},
		"of the gateway's link":        {from(j.gateway6(), other, db.MAC, protocolUDP, udp...), false},
		"a question of another":        {solicitation(other, own), false},
		"of nobody":                    {from(addr("::"), other, db.MAC, protocolUDP, udp...), false},
		"a DHCP server":                {from(own, other, db.MAC, protocolUDP, server...), false},
		"a router":                     {from(link, other, db.MAC, protocolICMPv6, routerAdvertisement, 0, 0, 0), false},
		"a redirect":                   {from(link, other, db.MAC, protocolICMPv6, 137, 0, 0, 0), false},
		"a router in fragments":        {from(link, other, db.MAC, protocolFragment, fragment(protocolICMPv6)...), false},
		"a router behind a header":     {from(link, other, db.MAC, 0, 58, 0, 1, 4, 0, 0, 0, 0, routerAdvertisement, 0, 0, 0), false},
		"half of a fragment":           {from(own, other, db.MAC, protocolFragment, protocolUDP), false},
		"half of ICMPv6":               {from(own, other, db.MAC, protocolICMPv6), false},
		"to all":                       {from(own, allNodes, station.All, protocolUDP, udp...), false},
		"a ping to the outside":        {from(own, addr("2001:db8::1"), j.gateway, protocolICMPv6, echoRequest, 0, 0, 0), false},
		"a detour":                     {from(own, other, j.gateway, protocolUDP, udp...), false},
		"half of IPv6":                 {solicitation(own, other)[:etherHead+20], false},
		"IPv6 of version 4":            {changed(solicitation(own, other), etherHead, 0x40), false},
	} {
		require.Equal(t, tc.want, j.admits(s, tc.frame), name)
	}
	for _, to := range []string{
		"::1", "::", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "fd00:ec2::254", "fd20:ce::254", "fd00::99",
	} {
		require.False(t, j.admits(s, from(own, addr(to), j.gateway, protocolUDP, udp...)), to)
	}
	require.False(t, j.admits(web, solicitation(addr("::"), own)), "it has no IPv6")
	j.config.NAT = false
	require.False(t, j.admits(s, from(own, addr("2001:db8::1"), j.gateway, protocolUDP, udp...)))
	require.True(t, j.admits(s, from(own, gateway, j.gateway, protocolUDP, udp...)))
}

// TestStationsLearnTheirAddresses: they are those that the daemon has given them, and with them
// stations reach each other, the gateway and the outside.
func TestStationsLearnTheirAddresses(t *testing.T) {
	outside6(t)
	n := newNetwork(t, config6())
	a, b := host6(t, n, sixth(web)), host6(t, n, sixth(db))
	require.Equal(t, addr("fd00::ff:fe00:1"), a.Own)
	require.Equal(t, addr("fd00::ff:fe00:2"), b.Own)
	echo(t, b.ListenTCP("[fd00::ff:fe00:2]:80"))
	conn, err := a.DialTCP("[fd00::ff:fe00:2]:80")
	require.NoError(t, err)
	answers(t, conn, 1<<20)
	require.True(t, b.Ping(a.Own.String(), patience))
	require.True(t, a.Ping("fd00::1", patience))

	l, err := net.Listen("tcp6", "[::]:8000")
	require.NoError(t, err)
	echo(t, l)
	conn, err = a.DialTCP("[2001:db8::1]:8000")
	require.NoError(t, err)
	answers(t, conn, 4<<20)
	_, err = a.DialTCP("[2001:db8::1]:8001")
	require.ErrorContains(t, err, "refused")
	_, err = a.DialTCP("[fd00::1]:8000") // the gateway has no ports except its own
	require.ErrorContains(t, err, "refused")
	u, err := net.ListenPacket("udp6", "[::]:8000")
	require.NoError(t, err)
	echoUDP(t, u)
	asks := a.DialUDP("[2001:db8::1]:8000")
	answersUDP(t, asks)
	require.NoError(t, asks.Close())

	resolver, listener, err := n.ListenDNS(addr("fd00::1"))
	require.NoError(t, err)
	echoUDP(t, resolver)
	echo(t, listener)
	at := netip.AddrPortFrom(addr("fd00::1"), resolve.Port).String()
	asks = a.DialUDP(at)
	answersUDP(t, asks)
	require.NoError(t, asks.Close())
	conn, err = a.DialTCP(at)
	require.NoError(t, err)
	answers(t, conn, 16)
}

// is returns whether a frame is a message of ICMPv6 of a kind.
func is(kind byte) func([]byte) bool {
	return func(frame []byte) bool {
		return len(frame) > etherHead+ipv6Head && frame[12] == 0x86 && frame[etherHead+6] == protocolICMPv6 && frame[etherHead+ipv6Head] == kind
	}
}

// TestWhoAsksForNeighbours hears of those that there are, and nobody else does.
func TestWhoAsksForNeighbours(t *testing.T) {
	n := newNetwork(t, config6())
	asks, other := attach(t, n, sixth(web)), attach(t, n, sixth(db))
	own := sixth(web).Addresses[1]
	hears := func(source netip.Addr, target string) (mac messages.MAC, flags byte) {
		t.Helper()
		asks.Send(solicitation(source, addr(target)))
		frame := asks.Receive(is(neighbourAdvert))
		message := frame[etherHead+ipv6Head:]
		require.Equal(t, addr(target), netip.AddrFrom16([16]byte(message[targetAt:])))
		require.Equal(t, frame[6:12], message[26:32])
		return messages.MAC(message[26:]), message[4]
	}
	for _, tc := range []struct {
		target string
		mac    messages.MAC
		flags  byte
	}{
		{"fd00::1", n.judge.gateway, 0xe0}, {n.judge.gateway6().String(), n.judge.gateway, 0xe0},
		{"fd00::ff:fe00:2", db.MAC, 0x60}, {"fe80::ff:fe00:2", db.MAC, 0x60},
	} {
		mac, flags := hears(own, tc.target)
		require.Equal(t, tc.mac, mac, tc.target)
		require.Equal(t, tc.flags, flags, tc.target)
		_, flags = hears(addr("::"), tc.target)
		require.Equal(t, tc.flags&^0x40, flags, "it may not have the address")
	}
	// Of these there is no answer: the next one is to the question after them.
	for _, nobody := range []string{own.String(), "fe80::ff:fe00:1", "fd00::77", "fd00::ff:fe00:3"} {
		asks.Send(solicitation(own, addr(nobody)))
	}
	asks.Send(changed(solicitation(own, addr("fd00::1")), etherHead+7, 64)) // a router has passed it on
	asks.Send(solicitation(own, addr("fd00::1"))[:etherHead+ipv6Head+10])
	hears(own, "fd00::ff:fe00:2")

	// It claims to be the gateway, to whom it does not reach.
	claim := slices.Concat([]byte{neighbourAdvert, 0, 0, 0, 0x60, 0, 0, 0}, addr("fd00::1").AsSlice(), []byte{2, 1}, web.MAC[:])
	asks.Send(station.Packet6(web.MAC, db.MAC, own, sixth(db).Addresses[1], protocolICMPv6, claim))
	asks.Send(station.Packet6(web.MAC, db.MAC, own, sixth(db).Addresses[1], protocolICMPv6, []byte{echoRequest, 0, 0, 0}))
	heard := other.Receive(func([]byte) bool { return true })
	require.True(t, is(echoRequest)(heard), "%x", heard)

	n.Dismiss(db.MAC)
	asks.Send(solicitation(own, addr("fd00::ff:fe00:2")))
	asks.Send(solicitation(own, addr("fe80::ff:fe00:2")))
	hears(own, "fd00::1")
}

// TestRouters: the gateway is one, unless it leads nowhere, and all stations hear of it now and then.
func TestRouters(t *testing.T) {
	for _, nat := range []bool{true, false} {
		c := config6()
		c.NAT = nat
		n := newNetwork(t, c)
		line := attach(t, n, sixth(web))
		line.Send(station.Packet6(web.MAC, allNodesMAC, addr("::"), addr("ff02::2"), protocolICMPv6, []byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0}))
		asked := slices.Clone(line.Receive(is(routerAdvertisement)))
		n.advertiseToAll()
		told := line.Receive(is(routerAdvertisement))
		require.Equal(t, web.MAC, messages.MAC(asked[:6]))
		require.Equal(t, allNodesMAC, messages.MAC(told[:6]))
		require.Equal(t, asked[6:], told[6:])
		lifetime := time.Duration(int(told[etherHead+ipv6Head+6])<<8|int(told[etherHead+ipv6Head+7])) * time.Second
		require.Equal(t, nat, lifetime > 2*advertiseEvery, lifetime)
	}
}

// TestAStationThatChangesItsAddress of IPv6 is found at the next one.
func TestAStationThatChangesItsAddress(t *testing.T) {
	n := newNetwork(t, config6())
	asks := attach(t, n, sixth(web))
	attach(t, n, sixth(db))
	next := sixth(db)
	next.Addresses[1] = addr("fd00::77")
	n.Admit(next)
	own := sixth(web).Addresses[1]
	asks.Send(solicitation(own, addr("fd00::ff:fe00:2")))
	asks.Send(solicitation(own, addr("fd00::77")))
	frame := asks.Receive(is(neighbourAdvert))
	require.Equal(t, addr("fd00::77").AsSlice(), frame[etherHead+ipv6Head+targetAt:etherHead+ipv6Head+targetAt+16])
	n.Admit(db)
	for _, gone := range []string{"fd00::77", "fe80::ff:fe00:2"} {
		asks.Send(solicitation(own, addr(gone)))
	}
	asks.Send(solicitation(own, addr("fd00::1")))
	frame = asks.Receive(is(neighbourAdvert))
	require.Equal(t, n.judge.gateway, messages.MAC(frame[6:12]))
}

// TestPublishedAtIPv6: in user mode the process passes on what arrives, whatever the address.
func TestPublishedAtIPv6(t *testing.T) {
	n := newNetwork(t, config6())
	h := host(t, n, web)
	echo(t, h.ListenTCP("10.90.0.2:80"))
	echoUDP(t, h.ListenUDP("10.90.0.2:80"))
	at := netip.MustParseAddrPort("[::1]:8080")
	for _, udp := range []bool{false, true} {
		require.NoError(t, n.Publish(messages.Publication{From: 8080, To: 80, UDP: udp, Host: at.Addr()}, at, web.Addresses[0]))
	}
	conn, err := net.Dial("tcp6", at.String())
	require.NoError(t, err)
	answers(t, conn, 1<<20)
	asks, err := net.Dial("udp6", at.String())
	require.NoError(t, err)
	answersUDP(t, asks)
	require.NoError(t, asks.Close())
}

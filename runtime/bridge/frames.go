package bridge

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Offsets of fields. Those of ARP count from its own header, as those of IP.
const (
	macSource = 6
	etherType = 12

	arpSenderMAC = 8
	arpSender    = 14

	neighbourTarget = 8 // in the message of ICMPv6
)

// Ports of DHCP.
const (
	dhcpServer  = 67
	dhcpClient  = 68
	dhcp6Server = 547
)

// Messages of ICMPv6.
const (
	listenerReport   = 131
	routerAdvert     = 134
	neighbourSolicit = 135
	neighbourAdvert  = 136
	listenerReport2  = 143
)

// The sets of the table that judges frames. Their keys begin with the name of a tap.
const (
	setStations   = "stations"   // tap, MAC
	setAddresses  = "addresses"  // tap, IPv4 address
	setAddresses6 = "addresses6" // tap, IPv6 address
	setRates      = "rates"      // tap; an element matches only while more arrives than its rate
)

// beforeBridges is before what others do in this hook.
const beforeBridges = -300

// writeFrames writes the rules for what the taps of a network send. A frame that no rule
// accepts is dropped. Every rule is about the one tap at which the frame has arrived, and the
// first one leaves all other interfaces of the host alone.
func writeFrames(t table, group uint32) {
	t.chain("arp",
		rule(header(0, 6), compare(neq, []byte{0, 1, 8, 0, 6, 4}), drop()), // Ethernet and IPv4
		rule(fromNoSender(header(arpSenderMAC, 6), setStations), drop()),
		rule(header(arpSender, 4), equal(make([]byte, 4)), accept()), // it asks whether an address is free
		rule(fromSender(header(arpSender, 4), setAddresses), accept()),
		drop(),
	)
	t.chain("ip",
		rule(carries(unix.IPPROTO_UDP), sourcePort(dhcpServer), drop()),
		rule(ip4.message(ip4.redirect), drop()),
		rule(fromSender(header(ip4.source, ip4.size), setAddresses), accept()),
		// It asks for an address. Source and destination are neighbours in the header.
		rule(header(ip4.source, 8), equal([]byte{0, 0, 0, 0, 255, 255, 255, 255}),
			carries(unix.IPPROTO_UDP), sourcePort(dhcpClient), destinationPort(dhcpServer), accept()),
		drop(),
	)
	t.chain("ip6",
		rule(carries(unix.IPPROTO_UDP), sourcePort(dhcp6Server), drop()),
		rule(ip6.message(routerAdvert), drop()),
		rule(ip6.message(ip6.redirect), drop()),
		rule(ip6.message(neighbourAdvert), fromNoSender(transport(neighbourTarget, 16), setAddresses6), drop()),
		rule(fromSender(header(ip6.source, ip6.size), setAddresses6), accept()),
		// It asks whether an address is free, or which multicast it wants, before it has one.
		rule(header(ip6.source, ip6.size), compare(neq, make([]byte, 16)), drop()),
		rule(ip6.message(neighbourSolicit), accept()),
		rule(ip6.message(listenerReport), accept()),
		rule(ip6.message(listenerReport2), accept()),
		drop(),
	)
	t.hook("prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, beforeBridges,
		rule(notFrom(group), accept()),
		rule(meta(iifname), in(setRates), drop()),
		rule(fromNoSender(frame(macSource, 6), setStations), drop()),
		rule(frame(etherType, 2), equal([]byte{0x08, 0x00}), leave("ip")),
		rule(frame(etherType, 2), equal([]byte{0x08, 0x06}), leave("arp")),
		rule(frame(etherType, 2), equal([]byte{0x86, 0xdd}), leave("ip6")),
		drop(), // such as VLANs
	)
}

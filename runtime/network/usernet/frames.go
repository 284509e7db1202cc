package usernet

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"albatross/messages"
	"albatross/runtime/network/lease"
	"albatross/runtime/network/wire"
)

// Lengths and places in frames, in bytes. RFC 826 has ARP, RFC 791 IPv4, and RFC 8200 IPv6.
const (
	etherHead = 14
	arpLength = 28
	ipv4Head  = 20
	ipv6Head  = 40
	portsSize = 4

	fragmentHead = 8 // of IPv6
)

const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
)

const (
	protocolICMP     = 1
	protocolTCP      = 6
	protocolUDP      = 17
	protocolFragment = 44
	protocolICMPv6   = 58
)

const (
	dhcpClient  = 68
	dhcp6Server = 547
)

var (
	broadcastMAC  = messages.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastIPv4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	// reserved has no hosts (RFC 1112).
	reserved = netip.MustParsePrefix("240.0.0.0/4")
	// notOutside6 are addresses of IPv6 that contain one of IPv4, which might be this host's own, and
	// those where clouds keep the secrets of machines.
	notOutside6 = []netip.Prefix{
		netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("64:ff9b::/96"),
		netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("fd00:ec2::254/128"), netip.MustParsePrefix("fd20:ce::254/128"),
	}
)

// A judge decides which frames of stations may enter the switch.
type judge struct {
	config  wire.Config
	gateway messages.MAC
}

// admits reports whether a station may send a frame: with its own addresses as the source, and
// to what it may reach. What it must not claim to be, it cannot be on this network: another
// station, the gateway, a DHCP server or a router.
func (j judge) admits(s wire.Station, frame []byte) bool {
	if len(frame) < etherHead || len(frame) > etherHead+j.config.MTU || messages.MAC(frame[6:12]) != s.MAC {
		return false
	}
	to, content := messages.MAC(frame[:6]), frame[etherHead:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeARP:
		return admitsARP(s, content)
	case typeIPv4:
		return j.admitsIPv4(s, to, content)
	case typeIPv6:
		return j.admitsIPv6(s, to, content)
	}
	return false
}

func admitsARP(s wire.Station, p []byte) bool {
	const head = "\x00\x01\x08\x00\x06\x04" // Ethernet and IPv4, with the lengths of their addresses
	if len(p) < arpLength || string(p[:len(head)]) != head || messages.MAC(p[8:14]) != s.MAC {
		return false
	}
	sender := netip.AddrFrom4([4]byte(p[14:18]))
	return sender.IsUnspecified() || has(s, sender) // a probe has no sender (RFC 5227)
}

func (j judge) admitsIPv4(s wire.Station, to messages.MAC, p []byte) bool {
	if len(p) < ipv4Head || p[0]>>4 != 4 {
		return false
	}
	head := int(p[0]&0xf) * 4
	if head < ipv4Head || len(p) < head {
		return false
	}
	source, dest := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	from, port, first := ports(p, head)
	if source.IsUnspecified() { // it asks for its address
		return first && port == lease.ServerPort && dest == broadcastIPv4
	}
	if !has(s, source) || first && from == lease.ServerPort && port == dhcpClient {
		return false
	}
	switch to {
	case broadcastMAC:
		return dest == broadcastIPv4 || dest == messages.Broadcast(j.config.Gateway)
	case j.gateway:
		return dest == j.config.Gateway.Addr() || p[9] != protocolICMP && j.mayLeave(dest)
	}
	return true
}

// ports returns those of a datagram of UDP, if it has them.
func ports(p []byte, head int) (from, to uint16, found bool) {
	fragment := binary.BigEndian.Uint16(p[6:]) & 0x1fff
	if p[9] != protocolUDP || fragment != 0 || len(p) < head+portsSize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(p[head:]), binary.BigEndian.Uint16(p[head+2:]), true
}

// mayLeave reports whether a station may reach an address beyond the gateway. Those that would
// be this host's own are not the outside; 169.254.0.0/16 has the secrets of machines in clouds.
func (j judge) mayLeave(a netip.Addr) bool {
	if !j.config.NAT || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	if a.Is4() {
		return a.As4()[0] != 0 && !reserved.Contains(a) && !j.config.Gateway.Contains(a)
	}
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	return j.config.Gateway6.IsValid() && !j.config.Gateway6.Contains(a) && !slices.ContainsFunc(notOutside6, in)
}

func (j judge) admitsIPv6(s wire.Station, to messages.MAC, p []byte) bool {
	if !j.config.Gateway6.IsValid() || len(p) < ipv6Head || p[0]>>4 != 6 || to == broadcastMAC {
		return false
	}
	source, dest := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	own := has(s, source) || has6(s) && source == s.MAC.Address6(messages.LinkLocal)
	switch {
	case isAboutNeighbours(p): // by who may have no address yet
		return own || has6(s) && source.IsUnspecified()
	case !own || !isPlainIPv6(p):
		return false
	case to == j.gateway:
		return dest == j.config.Gateway6.Addr() || dest == j.gateway6() || p[6] != protocolICMPv6 && j.mayLeave(dest)
	}
	return true
}

// isPlainIPv6 reports whether an IPv6 packet is what a station may send to another one. A message of
// ICMPv6 could hide behind headers, or in fragments, and claim to come from a router.
func isPlainIPv6(p []byte) bool {
	content := p[ipv6Head:]
	switch p[6] {
	case protocolTCP:
		return true
	case protocolUDP:
		return len(content) < portsSize || binary.BigEndian.Uint16(content) != dhcp6Server
	case protocolFragment:
		return len(content) >= fragmentHead && (content[0] == protocolTCP || content[0] == protocolUDP)
	case protocolICMPv6:
		const lastError = 4
		return len(content) > 0 && (content[0] <= lastError || content[0] == echoRequest || content[0] == echoReply)
	}
	return false
}

func has6(s wire.Station) bool { return slices.ContainsFunc(s.Addresses, netip.Addr.Is6) }

func has(s wire.Station, a netip.Addr) bool { return slices.Contains(s.Addresses, a) }

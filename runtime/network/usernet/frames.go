package usernet

import (
	"encoding/binary"
	"net/netip"

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
)

const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
)

const (
	protocolICMP   = 1
	protocolUDP    = 17
	protocolICMPv6 = 58
)

const (
	routerAdvertisement = 134 // of ICMPv6
	redirect            = 137
	dhcpClient          = 68
)

var (
	broadcastMAC  = messages.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastIPv4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	linkLocal6    = netip.MustParsePrefix("fe80::/10")
	// reserved has no hosts (RFC 1112).
	reserved = netip.MustParsePrefix("240.0.0.0/4")
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
		return admitsIPv6(s, content)
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
	return j.config.NAT && a.Is4() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() &&
		a.As4()[0] != 0 && !reserved.Contains(a) && !j.config.Gateway.Contains(a)
}

// admitsIPv6 is for what stations say to each other; the gateway has no IPv6.
func admitsIPv6(s wire.Station, p []byte) bool {
	if len(p) < ipv6Head || p[0]>>4 != 6 {
		return false
	}
	source := netip.AddrFrom16([16]byte(p[8:24]))
	if p[6] == protocolICMPv6 && len(p) > ipv6Head && (p[ipv6Head] == routerAdvertisement || p[ipv6Head] == redirect) {
		return false
	}
	return source.IsUnspecified() || linkLocal6.Contains(source) || has(s, source)
}

func has(s wire.Station, a netip.Addr) bool {
	for _, own := range s.Addresses {
		if own == a {
			return true
		}
	}
	return false
}

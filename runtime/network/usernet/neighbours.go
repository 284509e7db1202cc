package usernet

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"albatross/messages"
	"albatross/runtime/network/wire"
)

// Who asks for its neighbours (RFC 4861) is answered here, from the table of stations, and no other
// station hears of it. So none can claim the address of another one, or be a router.

// Messages of ICMPv6.
const (
	echoRequest           = 128
	echoReply             = 129
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighbourSolicitation = 135
	neighbourAdvert       = 136
)

const (
	// hopsOfNeighbours is the hop limit of these messages, which shows that no router has passed
	// them on.
	hopsOfNeighbours = 255
	// targetAt is where the address that a message is about is in it.
	targetAt = 8
	// routerLifetime is for how long a station uses the gateway after it has heard of it, in
	// seconds: the longest that there is.
	routerLifetime = 9000
	// advertiseEvery is when all stations hear of it again.
	advertiseEvery = 10 * time.Minute
	// forEver is a lifetime, in seconds.
	forEver = 0xffffffff
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = messages.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// isAboutNeighbours reports whether an IPv6 packet is a message that this file is for.
func isAboutNeighbours(p []byte) bool {
	if len(p) <= ipv6Head || p[6] != protocolICMPv6 {
		return false
	}
	switch p[ipv6Head] {
	case routerSolicitation, neighbourSolicitation, neighbourAdvert:
		return true
	}
	return false
}

// neighbour answers a frame of a station that was admitted, if it asks for a neighbour or a router. The
// others, which are not ours, belong to the switch.
func (n *Network) neighbour(s wire.Station, frame []byte) (reply []byte, ours bool) {
	p := frame[etherHead:]
	if binary.BigEndian.Uint16(frame[12:]) != typeIPv6 || !isAboutNeighbours(p) {
		return nil, false
	}
	if p[7] != hopsOfNeighbours {
		return nil, true
	}
	source := netip.AddrFrom16([16]byte(p[8:24]))
	switch message := p[ipv6Head:]; message[0] {
	case routerSolicitation:
		return n.judge.advertiseRouter(s.MAC, toWhoAsks(source)), true
	case neighbourSolicitation:
		if len(message) < targetAt+16 {
			return nil, true
		}
		return n.advertise(s.MAC, source, netip.AddrFrom16([16]byte(message[targetAt:]))), true
	default: // nobody has to hear what a station says of itself
		return nil, true
	}
}

// toWhoAsks returns the destination of an answer.
func toWhoAsks(source netip.Addr) netip.Addr {
	if source.IsUnspecified() { // it has no address yet
		return allNodes
	}
	return source
}

// advertise returns the answer to a station that asks who has an address, unless that is nobody or
// itself, which asks whether the address is free.
func (n *Network) advertise(to messages.MAC, source, target netip.Addr) []byte {
	mac, flags := n.judge.gateway, byte(0xa0) // a router, and it overrides what was known
	if target != n.judge.config.Gateway6.Addr() && target != n.judge.gateway6() {
		n.mu.Lock()
		mac, flags = n.neighbours[target], 0x20
		n.mu.Unlock()
	}
	if mac == (messages.MAC{}) || mac == to {
		return nil
	}
	if !source.IsUnspecified() {
		flags |= 0x40 // it was asked for
	}
	message := slices.Concat([]byte{neighbourAdvert, 0, 0, 0, flags, 0, 0, 0}, target.AsSlice(), []byte{2, 1}, mac[:])
	return icmpv6(mac, to, target, toWhoAsks(source), message)
}

// advertiseRouter returns a frame by which stations give themselves their addresses, and learn of the
// gateway, if that leads anywhere, and of the resolver.
func (j judge) advertiseRouter(to messages.MAC, dest netip.Addr) []byte {
	subnet, lifetime := j.config.Gateway6, uint16(0)
	if j.config.NAT {
		lifetime = routerLifetime
	}
	const onLinkAndOwn = 0xc0
	m := []byte{routerAdvertisement, 0, 0, 0, 64, 0}
	m = binary.BigEndian.AppendUint16(m, lifetime)
	m = append(m, make([]byte, 8)...) // the stations choose their own times
	m = append(append(m, 1, 1), j.gateway[:]...)
	m = binary.BigEndian.AppendUint32(append(m, 5, 1, 0, 0), uint32(j.config.MTU))
	m = append(m, 3, 4, byte(subnet.Bits()), onLinkAndOwn)
	m = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(m, forEver), forEver)
	m = append(append(m, 0, 0, 0, 0), subnet.Masked().Addr().AsSlice()...)
	m = binary.BigEndian.AppendUint32(append(m, 25, 3, 0, 0), forEver) // RFC 8106
	m = append(m, subnet.Addr().AsSlice()...)
	return icmpv6(j.gateway, to, j.gateway6(), dest, m)
}

// gateway6 returns the address by which stations find the gateway.
func (j judge) gateway6() netip.Addr { return j.gateway.Address6(messages.LinkLocal) }

// icmpv6 returns a frame with a message, whose checksum it adds.
func icmpv6(from, to messages.MAC, source, dest netip.Addr, message []byte) []byte {
	frame := make([]byte, etherHead+ipv6Head+len(message))
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(from[:]), DstAddr: tcpip.LinkAddress(to[:]), Type: header.IPv6ProtocolNumber})
	a, b := tcpip.AddrFromSlice(source.AsSlice()), tcpip.AddrFromSlice(dest.AsSlice())
	ip := header.IPv6(frame[etherHead:])
	ip.Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(message)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: hopsOfNeighbours, SrcAddr: a, DstAddr: b,
	})
	m := header.ICMPv6(ip.Payload())
	copy(m, message)
	m.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: m, Src: a, Dst: b}))
	return frame
}

// advertiseRouters lets all stations hear of the gateway again and again, until the network is closed.
func (n *Network) advertiseRouters() {
	tick := time.NewTicker(advertiseEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.advertiseToAll()
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Network) advertiseToAll() {
	frame := n.judge.advertiseRouter(allNodesMAC, allNodes)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.ports {
		_, _ = p.Write(frame) // which never fails
	}
}

// meet notes which station has an address.
func (n *Network) meet(a netip.Addr, mac messages.MAC) {
	n.clients[a] = newClient(n.ctx)
	if !a.Is6() {
		return // ARP finds it
	}
	n.neighbours[a] = mac
	// The interface exists, and its link finds addresses.
	_ = n.stack.AddStaticNeighbor(gatewayNIC, header.IPv6ProtocolNumber, tcpip.AddrFromSlice(a.AsSlice()), tcpip.LinkAddress(mac[:]))
}

// forget ends the connections of an address.
func (n *Network) forget(a netip.Addr) {
	if c := n.clients[a]; c != nil {
		c.cancel()
		delete(n.clients, a)
	}
	if a.Is6() {
		delete(n.neighbours, a)
		_ = n.stack.RemoveNeighbor(gatewayNIC, header.IPv6ProtocolNumber, tcpip.AddrFromSlice(a.AsSlice())) // it may not be there
	}
}

package usernet

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"albatross/runtime/network/wire"
	"albatross/test/hostile"
	"albatross/test/station"
)

// syn returns a frame with the first segment of a connection, with options.
func syn(j judge, to string, port uint16) []byte {
	const options = 20
	dest := netip.MustParseAddr(to)
	frame := make([]byte, header.EthernetMinimumSize+header.IPv4MinimumSize+header.TCPMinimumSize+options)
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(web.MAC[:]), DstAddr: tcpip.LinkAddress(j.gateway[:]), Type: header.IPv4ProtocolNumber,
	})
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	a, b := tcpip.AddrFromSlice(web.Addresses[0].AsSlice()), tcpip.AddrFromSlice(dest.AsSlice())
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: a, DstAddr: b})
	segment := header.TCP(ip.Payload())
	segment.Encode(&header.TCPFields{
		SrcPort: 1000, DstPort: port, SeqNum: 1, DataOffset: header.TCPMinimumSize + options, Flags: header.TCPFlagSyn, WindowSize: 1000,
	})
	copy(segment[header.TCPMinimumSize:], []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7})
	seal(frame)
	return frame
}

// seal makes the checksums of a frame right, as far as it is one of IPv4, and the source that of
// its station: otherwise little would get beyond the switch.
func seal(frame []byte) {
	if len(frame) < etherHead+ipv4Head || binary.BigEndian.Uint16(frame[12:]) != typeIPv4 {
		return
	}
	copy(frame[6:12], web.MAC[:])
	ip := header.IPv4(frame[etherHead:])
	head := int(ip.HeaderLength())
	if head < ipv4Head || len(ip) < head {
		return
	}
	copy(frame[etherHead+12:], web.Addresses[0].AsSlice())
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	content := frame[etherHead+head:]
	sum := header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(ip.Protocol()), ip.SourceAddress(), ip.DestinationAddress(), uint16(len(content)))
	switch {
	case ip.Protocol() == uint8(header.TCPProtocolNumber) && len(content) >= header.TCPMinimumSize:
		segment := header.TCP(content)
		segment.SetChecksum(0)
		segment.SetChecksum(^addBytes(sum, content))
	case ip.Protocol() == protocolUDP && len(content) >= header.UDPMinimumSize:
		header.UDP(content).SetChecksum(0)
	case ip.Protocol() == protocolICMP && len(content) >= header.ICMPv4MinimumSize:
		message := header.ICMPv4(content)
		message.SetChecksum(0)
		message.SetChecksum(^addBytes(0, content))
	}
}

// addBytes returns a checksum with more bytes (RFC 1071).
func addBytes(sum uint16, b []byte) uint16 {
	total := uint32(sum)
	for i := 0; i+1 < len(b); i += 2 {
		total += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		total += uint32(b[len(b)-1]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

// TestHostileFrames: whatever a station sends, the network goes on. Half of the frames are such
// that they reach the gateway.
func TestHostileFrames(t *testing.T) {
	outside(t)
	n := newNetwork(t, config6())
	line, h := attach(t, n, sixth(web)), host(t, n, db)
	own, own6 := netip.AddrPortFrom(web.Addresses[0], 1), sixth(web).Addresses[1]
	list := [][]byte{
		station.ARP(web.MAC, web.Addresses[0], addr("10.90.0.1")),
		station.Datagram(web.MAC, n.judge.gateway, own, netip.MustParseAddrPort("10.90.0.1:53"), []byte("hello, world")),
		station.Datagram(web.MAC, n.judge.gateway, own, netip.MustParseAddrPort("192.0.2.1:7"), []byte("hello, world")),
		station.Datagram(web.MAC, station.All, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), make([]byte, 300)),
		syn(n.judge, "10.90.0.1", 53), syn(n.judge, "192.0.2.1", 8000),
		solicitation(own6, addr("fd00::1")),
		station.Packet6(web.MAC, n.judge.gateway, own6, addr("fd00::1"), protocolICMPv6, []byte{echoRequest, 0, 0, 0, 0, 0, 0, 0}),
		station.Packet6(web.MAC, n.judge.gateway, own6, addr("2001:db8::1"), protocolUDP, []byte{1, 0, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4}),
	}
	random := rand.New(rand.NewPCG(3, 4))
	count := hostile.Choose(20000, 2000000)
	ended := make(chan struct{})
	go func() { // reads the answers
		defer close(ended)
		buffer := make([]byte, maxTestFrame)
		for {
			if got, err := unix.Read(line.FD, buffer); got <= 0 && err != unix.EINTR {
				return
			}
		}
	}()
	for i := range count {
		frame := hostile.Mutate(random, list)
		if i%2 == 0 {
			seal(frame)
		}
		frame = frame[:min(len(frame), etherHead+n.config.MTU)]
		_ = unix.Sendmsg(line.FD, frame, nil, nil, unix.MSG_NOSIGNAL) // it may be empty
	}
	require.True(t, h.Ping("10.90.0.1", patience))
	told := wire.Admitted{Station: web}
	n.Tell(&told)
	require.True(t, told.Attached)
	require.Greater(t, told.Refused, uint64(count/10))
	require.Less(t, told.Refused, uint64(count*9/10), "much has reached the gateway")
	require.NoError(t, unix.Shutdown(line.FD, unix.SHUT_RDWR))
	<-ended
	hostile.Figure(t, "hostile frames that a network in user mode has survived", count)
}

// Package station is for tests that need a unikernel on a network in user mode: it speaks Ethernet
// over one end of a pair of sockets, frame by frame (Line), or as a complete host (Host).
package station

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"albatross/messages"
)

const (
	// patience bounds what happens on a busy machine.
	patience = time.Minute
	// pause is the time after which a question is sent again.
	pause = time.Second
	// maxFrame is the longest frame, in bytes.
	maxFrame = 65535 + header.EthernetMinimumSize
	// queued is how many frames a host has ready to send.
	queued = 256
)

// All is the address of all stations.
var All = messages.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// A Line is the end of a pair of sockets that a unikernel has.
type Line struct {
	t  testing.TB
	FD int
}

// Pair returns both ends: that of a unikernel, and that of the switch, which the caller owns.
func Pair(t testing.TB) (line Line, plug int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fds[0]) })
	return Line{t, fds[0]}, fds[1]
}

// At returns a line for a descriptor that carries frames, such as a tap. It stays the caller's.
func At(t testing.TB, fd int) Line { return Line{t, fd} }

// Send sends a frame. It waits while there is no room.
func (l Line) Send(frame []byte) {
	l.t.Helper()
	err := error(unix.EINTR)
	for err == unix.EINTR {
		_, err = unix.Write(l.FD, frame)
	}
	require.NoError(l.t, err)
}

// Receive returns the next frame that is wanted.
func (l Line) Receive(wanted func(frame []byte) bool) []byte {
	l.t.Helper()
	frame, came := l.receive(wanted, patience)
	require.True(l.t, came, "no such frame has come")
	return frame
}

// Ask sends a frame until one comes that is wanted: a bridge loses the first ones.
func (l Line) Ask(frame []byte, wanted func(frame []byte) bool) []byte {
	l.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		l.Send(frame)
		if answer, came := l.receive(wanted, pause); came {
			return answer
		}
	}
	require.Fail(l.t, "there is no answer")
	return nil
}

func (l Line) receive(wanted func(frame []byte) bool, within time.Duration) (frame []byte, came bool) {
	l.t.Helper()
	frame = make([]byte, maxFrame)
	for end := time.Now().Add(within); ; {
		poll := []unix.PollFd{{Fd: int32(l.FD), Events: unix.POLLIN}}
		ready, err := unix.Poll(poll, int(max(0, time.Until(end)).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		require.NoError(l.t, err)
		if ready == 0 {
			return nil, false
		}
		n, err := unix.Read(l.FD, frame)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		require.NoError(l.t, err)
		require.NotZero(l.t, n, "the other end is closed")
		if wanted(frame[:n]) {
			return frame[:n], true
		}
	}
}

// Packet6 returns a frame with an IPv6 packet. The checksum of ICMPv6 is right, if the content has one.
func Packet6(from, to messages.MAC, source, dest netip.Addr, next byte, content []byte) []byte {
	const heads = header.EthernetMinimumSize + header.IPv6MinimumSize
	frame := make([]byte, heads+len(content))
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(from[:]), DstAddr: tcpip.LinkAddress(to[:]), Type: header.IPv6ProtocolNumber})
	a, b := tcpip.AddrFromSlice(source.AsSlice()), tcpip.AddrFromSlice(dest.AsSlice())
	ip := header.IPv6(frame[header.EthernetMinimumSize:])
	ip.Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(content)), TransportProtocol: tcpip.TransportProtocolNumber(next), HopLimit: header.NDPHopLimit, SrcAddr: a, DstAddr: b,
	})
	m := header.ICMPv6(frame[heads:])
	copy(m, content)
	if next == uint8(header.ICMPv6ProtocolNumber) && len(m) >= header.ICMPv6MinimumSize {
		m.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: m, Src: a, Dst: b}))
	}
	return frame
}

// Datagram returns a frame with a datagram of UDP.
func Datagram(from, to messages.MAC, source, dest netip.AddrPort, content []byte) []byte {
	const heads = header.EthernetMinimumSize + header.IPv4MinimumSize + header.UDPMinimumSize
	frame := make([]byte, heads+len(content))
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(from[:]), DstAddr: tcpip.LinkAddress(to[:]), Type: header.IPv4ProtocolNumber})
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	a, b := tcpip.AddrFromSlice(source.Addr().AsSlice()), tcpip.AddrFromSlice(dest.Addr().AsSlice())
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber), SrcAddr: a, DstAddr: b,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	u := header.UDP(ip.Payload())
	u.Encode(&header.UDPFields{SrcPort: source.Port(), DstPort: dest.Port(), Length: uint16(len(u))})
	copy(u.Payload(), content)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, a, b, uint16(len(u)))
	u.SetChecksum(^u.CalculateChecksum(checksum.Checksum(content, sum)))
	return frame
}

// ARP returns a request for an address.
func ARP(from messages.MAC, sender, target netip.Addr) []byte {
	frame := make([]byte, header.EthernetMinimumSize+header.ARPSize)
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(from[:]), DstAddr: tcpip.LinkAddress(All[:]), Type: header.ARPProtocolNumber})
	a := header.ARP(frame[header.EthernetMinimumSize:])
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), from[:])
	copy(a.ProtocolAddressSender(), sender.AsSlice())
	copy(a.ProtocolAddressTarget(), target.AsSlice())
	return frame
}

// IsARPReply reports whether a frame tells who has an address.
func IsARPReply(of netip.Addr) func([]byte) bool {
	return func(frame []byte) bool {
		if len(frame) < header.EthernetMinimumSize+header.ARPSize || header.Ethernet(frame).Type() != header.ARPProtocolNumber {
			return false
		}
		a := header.ARP(frame[header.EthernetMinimumSize:])
		return a.Op() == header.ARPReply && string(a.ProtocolAddressSender()) == string(of.AsSlice())
	}
}

// IsDatagram reports whether a frame has a datagram of UDP to a port.
func IsDatagram(to uint16) func([]byte) bool {
	return func(frame []byte) bool {
		const head = header.EthernetMinimumSize + header.IPv4MinimumSize
		return len(frame) >= head+header.UDPMinimumSize && header.Ethernet(frame).Type() == header.IPv4ProtocolNumber &&
			header.IPv4(frame[header.EthernetMinimumSize:]).Protocol() == uint8(header.UDPProtocolNumber) &&
			binary.BigEndian.Uint16(frame[head+2:]) == to
	}
}

// Content returns that of a datagram.
func Content(frame []byte) []byte {
	return frame[header.EthernetMinimumSize+header.IPv4MinimumSize+header.UDPMinimumSize:]
}

// AskDHCP sends a message from port 68 of a station without an address.
func (l Line) AskDHCP(mac messages.MAC, m *dhcpv4.DHCPv4) {
	l.t.Helper()
	l.Send(ofDHCP(mac, m))
}

// Lease gets an address by DHCP.
func (l Line) Lease(mac messages.MAC) *dhcpv4.DHCPv4 {
	l.t.Helper()
	discover, err := dhcpv4.NewDiscovery(mac[:])
	require.NoError(l.t, err)
	offer := l.converse(mac, discover)
	require.Equal(l.t, dhcpv4.MessageTypeOffer, offer.MessageType())
	request, err := dhcpv4.NewRequestFromOffer(offer)
	require.NoError(l.t, err)
	ack := l.converse(mac, request)
	require.Equal(l.t, dhcpv4.MessageTypeAck, ack.MessageType())
	return ack
}

func (l Line) converse(mac messages.MAC, m *dhcpv4.DHCPv4) (reply *dhcpv4.DHCPv4) {
	l.t.Helper()
	l.Ask(ofDHCP(mac, m), func(frame []byte) bool {
		if !IsDatagram(dhcpv4.ClientPort)(frame) {
			return false
		}
		var err error
		reply, err = dhcpv4.FromBytes(Content(frame))
		return err == nil && reply.TransactionID == m.TransactionID
	})
	return reply
}

func ofDHCP(mac messages.MAC, m *dhcpv4.DHCPv4) []byte {
	return Datagram(mac, All, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), m.ToBytes())
}

// A Host is a station with TCP/IP of its own.
type Host struct {
	Own netip.Addr // the address that it has learned

	t     testing.TB
	stack *stack.Stack
}

const nic = 1

// NewHost makes a host at a line, until the end of the test. Nobody else may receive there.
func NewHost(t testing.TB, line Line, mac messages.MAC, own netip.Prefix, gateway netip.Addr, mtu int) *Host {
	t.Helper()
	h := newHost(t, line, mac, mtu, ipv4.NewProtocol, arp.NewProtocol)
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(own.Addr().AsSlice()), PrefixLen: own.Bits()}
	ok(t, h.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}))
	h.stack.SetRouteTable([]tcpip.Route{
		{Destination: address.Subnet(), NIC: nic},
		{Destination: header.IPv4EmptySubnet, Gateway: tcpip.AddrFromSlice(gateway.AsSlice()), NIC: nic},
	})
	return h
}

// NewHost6 makes one with IPv6, which learns its address and its router from the network.
func NewHost6(t testing.TB, line Line, mac messages.MAC, mtu int) *Host {
	t.Helper()
	learns := &learner{routers: make(chan tcpip.Address, 10), addresses: make(chan tcpip.AddressWithPrefix, 10)}
	h := newHost(t, line, mac, mtu, ipv6.NewProtocolWithOptions(ipv6.Options{
		NDPConfigs: ipv6.NDPConfigurations{
			MaxRtrSolicitations: 60, RtrSolicitationInterval: time.Second, HandleRAs: ipv6.HandlingRAsEnabledWhenForwardingDisabled,
			DiscoverDefaultRouters: true, AutoGenGlobalAddresses: true,
		},
		AutoGenLinkLocal: true, NDPDisp: learns,
	}))
	for routes := []tcpip.Route(nil); len(routes) < 2; h.stack.SetRouteTable(routes) {
		select {
		case router := <-learns.routers:
			routes = append(routes, tcpip.Route{Destination: header.IPv6EmptySubnet, Gateway: router, NIC: nic})
		case own := <-learns.addresses:
			if header.IsV6LinkLocalUnicastAddress(own.Address) {
				continue
			}
			h.Own, _ = netip.AddrFromSlice(own.Address.AsSlice())
			routes = append([]tcpip.Route{{Destination: own.Subnet(), NIC: nic}}, routes...)
		case <-time.After(patience):
			require.Fail(t, "no router has told anything")
		}
	}
	return h
}

// A learner passes on what a network tells a host with IPv6. The rest is of no interest.
type learner struct {
	ipv6.NDPDispatcher
	routers   chan tcpip.Address
	addresses chan tcpip.AddressWithPrefix
}

func (l *learner) OnOffLinkRouteUpdated(_ tcpip.NICID, _ tcpip.Subnet, router tcpip.Address, _ header.NDPRoutePreference) {
	l.routers <- router
}

func (l *learner) OnAutoGenAddress(_ tcpip.NICID, a tcpip.AddressWithPrefix) stack.AddressDispatcher {
	l.addresses <- a
	return nil
}

func (l *learner) OnDuplicateAddressDetectionResult(tcpip.NICID, tcpip.Address, stack.DADResult) {}
func (l *learner) OnOffLinkRouteInvalidated(tcpip.NICID, tcpip.Subnet, tcpip.Address)            {}
func (l *learner) OnAutoGenAddressInvalidated(tcpip.NICID, tcpip.AddressWithPrefix)              {}
func (l *learner) OnDHCPv6Configuration(tcpip.NICID, ipv6.DHCPv6ConfigurationFromNDPRA)          {}
func (l *learner) OnRecursiveDNSServerOption(tcpip.NICID, []tcpip.Address, time.Duration)        {}

func newHost(t testing.TB, line Line, mac messages.MAC, mtu int, protocols ...stack.NetworkProtocolFactory) *Host {
	t.Helper()
	link := channel.New(queued, uint32(mtu+header.EthernetMinimumSize), tcpip.LinkAddress(mac[:]))
	h := &Host{t: t, stack: stack.New(stack.Options{
		NetworkProtocols:   protocols,
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})}
	ok(t, h.stack.CreateNIC(nic, ethernet.New(link)))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { send(ctx, link, line.FD) })
	running.Go(func() { receive(ctx, link, line.FD) })
	t.Cleanup(func() {
		h.stack.Close()
		cancel()
		_ = unix.Shutdown(line.FD, unix.SHUT_RD)
		running.Wait()
		h.stack.Destroy()
	})
	return h
}

func ok(t testing.TB, err tcpip.Error) {
	t.Helper()
	if err != nil {
		require.Fail(t, err.String())
	}
}

func send(ctx context.Context, link *channel.Endpoint, fd int) {
	for {
		pkt := link.ReadContext(ctx)
		if pkt == nil {
			return
		}
		frame := pkt.ToBuffer()
		flat := frame.Flatten()
		frame.Release()
		pkt.DecRef()
		for err := error(unix.EINTR); err == unix.EINTR; {
			err = unix.Sendmsg(fd, flat, nil, nil, unix.MSG_NOSIGNAL)
		}
	}
}

func receive(ctx context.Context, link *channel.Endpoint, fd int) {
	frame := make([]byte, maxFrame)
	for ctx.Err() == nil {
		n, err := unix.Read(fd, frame)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[:n])})
		link.InjectInbound(0, pkt)
		pkt.DecRef()
	}
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

func protocolOf(a netip.AddrPort) tcpip.NetworkProtocolNumber {
	if a.Addr().Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// DialTCP makes a connection.
func (h *Host) DialTCP(to string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	at := netip.MustParseAddrPort(to)
	return gonet.DialContextTCP(ctx, h.stack, full(at), protocolOf(at))
}

// ListenTCP accepts connections at an address of the host.
func (h *Host) ListenTCP(at string) net.Listener {
	h.t.Helper()
	own := netip.MustParseAddrPort(at)
	l, err := gonet.ListenTCP(h.stack, full(own), protocolOf(own))
	require.NoError(h.t, err)
	return l
}

// DialUDP sends and receives datagrams.
func (h *Host) DialUDP(to string) net.Conn {
	h.t.Helper()
	at := netip.MustParseAddrPort(to)
	remote := full(at)
	conn, err := gonet.DialUDP(h.stack, nil, &remote, protocolOf(at))
	require.NoError(h.t, err)
	return conn
}

// ListenUDP receives datagrams at an address of the host.
func (h *Host) ListenUDP(at string) net.PacketConn {
	h.t.Helper()
	local := full(netip.MustParseAddrPort(at))
	conn, err := gonet.DialUDP(h.stack, &local, nil, ipv4.ProtocolNumber)
	require.NoError(h.t, err)
	return conn
}

// Ping reports whether an address answers in time.
func (h *Host) Ping(to string, within time.Duration) bool {
	h.t.Helper()
	var queue waiter.Queue
	at := netip.AddrPortFrom(netip.MustParseAddr(to), 0)
	transport, request := icmp.ProtocolNumber4, make([]byte, header.ICMPv6EchoMinimumSize) // which is that of ICMPv4
	request[0] = byte(header.ICMPv4Echo)
	if at.Addr().Is6() {
		transport, request[0] = icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest)
	}
	ep, err := h.stack.NewEndpoint(transport, protocolOf(at), &queue)
	ok(h.t, err)
	defer ep.Close()
	ok(h.t, ep.Connect(full(at)))
	conn := gonet.NewUDPConn(&queue, ep)
	if _, err := conn.Write(request); err != nil {
		return false
	}
	require.NoError(h.t, conn.SetReadDeadline(time.Now().Add(within)))
	_, failed := conn.Read(make([]byte, maxFrame))
	return failed == nil
}

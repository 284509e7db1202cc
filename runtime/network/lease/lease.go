// Package lease is the DHCP server of a network (RFC 2131). It gives a station that is in the
// table the address that the daemon has chosen for it, and nobody else anything: there is no
// pool, and nothing to store.
package lease

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/time/rate"

	"albatross/messages"
	"albatross/runtime/network/stations"
	"albatross/runtime/network/wire"
)

const (
	// ServerPort is where clients ask.
	ServerPort = 67
	clientPort = 68
	// Time is how long an address is given. A client asks again after half of it.
	Time = 24 * time.Hour
	// maxMessage is more than a request has.
	maxMessage = 4 << 10
	// perSecond and burst bound the answers to one station: all stations receive them.
	perSecond = 10
	burst     = 20
	// maxFailed is how many reads may fail one after the other: the kernel reports it once when
	// a bridge goes down.
	maxFailed = 100
)

// A Server answers the stations of a network.
type Server struct {
	config wire.Config
	table  *stations.Table

	mu     sync.Mutex
	limits map[messages.MAC]*rate.Limiter
}

// New returns a server.
func New(config wire.Config, table *stations.Table) *Server {
	return &Server{config: config, table: table, limits: map[messages.MAC]*rate.Limiter{}}
}

// Serve answers what arrives at a socket with the port of a server, until it is closed. The
// socket may send to the broadcast address. An error says that it cannot be used any more.
func (s *Server) Serve(conn net.PacketConn) error {
	buffer := make([]byte, maxMessage)
	for failed := 0; failed < maxFailed; {
		n, _, err := conn.ReadFrom(buffer)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
			return nil
		case err != nil:
			if failed++; failed == maxFailed {
				return fmt.Errorf("cannot serve DHCP any more: %w", err)
			}
			continue
		}
		failed = 0
		reply, to, ok := s.answer(buffer[:n])
		if ok {
			// The client asks again if it is lost.
			_, _ = conn.WriteTo(reply, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, clientPort)))
		}
	}
	return nil
}

// answer returns the answer to a message, and where it goes.
func (s *Server) answer(frame []byte) (reply []byte, to netip.Addr, ok bool) {
	m, err := dhcpv4.FromBytes(frame)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != len(messages.MAC{}) ||
		!m.GatewayIPAddr.IsUnspecified() {
		return nil, to, false
	}
	station, known := s.table.Get(messages.MAC(m.ClientHWAddr))
	address, has := station.IPv4()
	if !known || !has || !s.allow(station.MAC) {
		return nil, to, false
	}
	kind, ok := s.judge(m, address)
	if !ok {
		return nil, to, false
	}
	r, err := s.compose(m, kind, address)
	if err != nil {
		return nil, to, false
	}
	return r.ToBytes(), destination(m, kind, address), true
}

// allow reports whether a station may have another answer now.
func (s *Server) allow(mac messages.MAC) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.limits) > 2*stations.Max { // of stations that have gone
		clear(s.limits)
	}
	limit := s.limits[mac]
	if limit == nil {
		limit = rate.NewLimiter(perSecond, burst)
		s.limits[mac] = limit
	}
	return limit.Allow()
}

// judge returns the kind of the answer to a message. There is none to what is for another
// server, and to what needs none.
func (s *Server) judge(m *dhcpv4.DHCPv4, address netip.Addr) (kind dhcpv4.MessageType, ok bool) {
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return dhcpv4.MessageTypeOffer, true
	case dhcpv4.MessageTypeInform:
		return dhcpv4.MessageTypeAck, true
	case dhcpv4.MessageTypeRequest:
		if server := m.ServerIdentifier(); server != nil && !server.Equal(s.gateway()) {
			return kind, false
		}
		asked := m.RequestedIPAddress()
		if asked == nil {
			asked = m.ClientIPAddr
		}
		if asked.Equal(address.AsSlice()) {
			return dhcpv4.MessageTypeAck, true
		}
		return dhcpv4.MessageTypeNak, true
	}
	return kind, false
}

func (s *Server) gateway() net.IP { return s.config.Gateway.Addr().AsSlice() }

func (s *Server) compose(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, address netip.Addr) (*dhcpv4.DHCPv4, error) {
	options := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(s.gateway())),
	}
	if kind != dhcpv4.MessageTypeNak {
		options = append(options, s.parameters()...)
		if m.MessageType() != dhcpv4.MessageTypeInform {
			options = append(options, dhcpv4.WithYourIP(address.AsSlice()), dhcpv4.WithLeaseTime(uint32(Time/time.Second)))
		}
	}
	return dhcpv4.NewReplyFromRequest(m, options...)
}

// parameters are those of the network.
func (s *Server) parameters() []dhcpv4.Modifier {
	last := messages.Broadcast(s.config.Gateway)
	return []dhcpv4.Modifier{
		dhcpv4.WithNetmask(net.CIDRMask(s.config.Gateway.Bits(), 32)),
		dhcpv4.WithRouter(s.gateway()),
		dhcpv4.WithDNS(s.gateway()),
		dhcpv4.WithOption(dhcpv4.OptBroadcastAddress(last.AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptDomainName(s.config.Domain())),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, dhcpv4.Uint16(s.config.MTU).ToBytes()),
	}
}

// destination returns where an answer goes: to a client that has its address already, or else
// to all, who ignore what is not for them.
func destination(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, address netip.Addr) netip.Addr {
	if kind == dhcpv4.MessageTypeAck && m.ClientIPAddr.Equal(address.AsSlice()) {
		return address
	}
	return netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

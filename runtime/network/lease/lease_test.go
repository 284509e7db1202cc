package lease

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/network/stations"
	"albatross/runtime/network/wire"
)

var (
	web     = messages.MAC{2, 0, 0, 0, 0, 1}
	stray   = messages.MAC{2, 0, 0, 0, 0, 9}
	address = netip.MustParseAddr("10.90.0.7")
	all     = netip.MustParseAddr("255.255.255.255")
)

func server(t *testing.T) *Server {
	t.Helper()
	table := stations.New()
	require.NoError(t, table.Put(wire.Station{Name: "web", MAC: web, Addresses: []netip.Addr{netip.MustParseAddr("fd00::7"), address}}))
	require.NoError(t, table.Put(wire.Station{MAC: messages.MAC{2, 0, 0, 0, 0, 2}}))
	return New(wire.Config{
		Backend: messages.UserNetwork, Name: "service", Gateway: netip.MustParsePrefix("10.90.0.1/24"), MTU: 1280,
	}, table)
}

func request(t *testing.T, mac messages.MAC, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithMessageType(kind)}, more...)...)
	require.NoError(t, err)
	return m
}

func asked(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(a)))
}

func TestAnAddress(t *testing.T) {
	s := server(t)
	m := request(t, web, dhcpv4.MessageTypeDiscover)
	frame, to, ok := s.answer(m.ToBytes())
	require.True(t, ok)
	require.Equal(t, all, to)
	offer, err := dhcpv4.FromBytes(frame)
	require.NoError(t, err)
	require.Equal(t, dhcpv4.MessageTypeOffer, offer.MessageType())
	require.Equal(t, m.TransactionID, offer.TransactionID)
	require.Equal(t, "10.90.0.7", offer.YourIPAddr.String())
	require.Equal(t, "ffffff00", offer.SubnetMask().String())
	require.Equal(t, []net.IP{{10, 90, 0, 1}}, offer.Router())
	require.Equal(t, []net.IP{{10, 90, 0, 1}}, offer.DNS())
	require.Equal(t, "10.90.0.255", offer.BroadcastAddress().String())
	require.Equal(t, "service.internal", offer.DomainName())
	require.Equal(t, 24*time.Hour, offer.IPAddressLeaseTime(0))
	mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, offer.Options)
	require.NoError(t, err)
	require.Equal(t, uint16(1280), mtu)

	frame, _, ok = s.answer(request(t, web, dhcpv4.MessageTypeRequest, asked("10.90.0.7"),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))).ToBytes())
	require.True(t, ok)
	ack, err := dhcpv4.FromBytes(frame)
	require.NoError(t, err)
	require.Equal(t, dhcpv4.MessageTypeAck, ack.MessageType())
	require.Equal(t, "10.90.0.7", ack.YourIPAddr.String())
}

func TestJudgements(t *testing.T) {
	own := dhcpv4.WithClientIP(address.AsSlice())
	for name, tc := range map[string]struct {
		mac  messages.MAC
		kind dhcpv4.MessageType
		more []dhcpv4.Modifier
		want dhcpv4.MessageType
		to   netip.Addr
	}{
		"another address":   {web, dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{asked("10.90.0.8")}, dhcpv4.MessageTypeNak, all},
		"renewal":           {web, dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{own}, dhcpv4.MessageTypeAck, address},
		"inform":            {web, dhcpv4.MessageTypeInform, []dhcpv4.Modifier{own}, dhcpv4.MessageTypeAck, address},
		"stranger":          {stray, dhcpv4.MessageTypeDiscover, nil, 0, netip.Addr{}},
		"no address":        {messages.MAC{2, 0, 0, 0, 0, 2}, dhcpv4.MessageTypeDiscover, nil, 0, netip.Addr{}},
		"release":           {web, dhcpv4.MessageTypeRelease, []dhcpv4.Modifier{own}, 0, netip.Addr{}},
		"another server":    {web, dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{asked("10.90.0.7"), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 90, 0, 2}))}, 0, netip.Addr{}},
		"a relay":           {web, dhcpv4.MessageTypeDiscover, []dhcpv4.Modifier{dhcpv4.WithGatewayIP(net.IP{10, 90, 0, 9})}, 0, netip.Addr{}},
		"an answer":         {web, dhcpv4.MessageTypeDiscover, []dhcpv4.Modifier{func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootReply }}, 0, netip.Addr{}},
		"another kind":      {web, dhcpv4.MessageTypeOffer, nil, 0, netip.Addr{}},
		"a request of none": {web, dhcpv4.MessageTypeRequest, nil, dhcpv4.MessageTypeNak, all},
	} {
		t.Run(name, func(t *testing.T) {
			frame, to, ok := server(t).answer(request(t, tc.mac, tc.kind, tc.more...).ToBytes())
			require.Equal(t, tc.want != 0, ok)
			require.Equal(t, tc.to, to)
			if !ok {
				return
			}
			m, err := dhcpv4.FromBytes(frame)
			require.NoError(t, err)
			require.Equal(t, tc.want, m.MessageType())
			if tc.kind == dhcpv4.MessageTypeInform || tc.want == dhcpv4.MessageTypeNak {
				require.True(t, m.YourIPAddr.IsUnspecified())
				require.Zero(t, m.IPAddressLeaseTime(0))
			}
		})
	}
}

// TestAFloodOfRequests is answered as often as one station may be, and another one is answered.
func TestAFloodOfRequests(t *testing.T) {
	s := server(t)
	require.NoError(t, s.table.Put(wire.Station{MAC: stray, Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.9")}}))
	frame := request(t, web, dhcpv4.MessageTypeDiscover).ToBytes()
	refused := false
	for range 100 * burst {
		_, _, ok := s.answer(frame)
		refused = refused || !ok
	}
	require.True(t, refused)
	_, _, ok := s.answer(request(t, stray, dhcpv4.MessageTypeDiscover).ToBytes())
	require.True(t, ok)
}

func FuzzRequests(f *testing.F) {
	m, err := dhcpv4.NewDiscovery(web[:])
	require.NoError(f, err)
	f.Add(m.ToBytes())
	f.Fuzz(func(t *testing.T, frame []byte) { server(t).answer(frame) })
}

package resolve

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/runtime/network/stations"
	"albatross/runtime/network/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// start returns where a server listens.
func start(t *testing.T, upstream ...netip.AddrPort) (udp, tcp string) {
	t.Helper()
	table := stations.New()
	for i, s := range []wire.Station{
		{Name: "web", Addresses: []netip.Addr{addr("10.90.0.2"), addr("fd00::2")}},
		{Name: "a:db", Addresses: []netip.Addr{addr("10.90.0.3")}},
		{Name: "old", Addresses: []netip.Addr{addr("10.90.0.4")}},
		{Addresses: []netip.Addr{addr("10.90.0.5")}},
	} {
		s.MAC = messages.MAC{2, byte(i)}
		require.NoError(t, table.Put(s))
	}
	server := New(wire.Config{
		Backend: messages.KernelNetwork, Name: "Net", Gateway: netip.MustParsePrefix("10.90.0.1/24"), Gateway6: netip.MustParsePrefix("fd00::1/64"),
	}, table, upstream)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 2)
	go func() { ended <- server.ServeUDP(conn) }()
	go func() { server.ServeTCP(listener); ended <- nil }()
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		require.NoError(t, listener.Close())
		server.Close()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	})
	return conn.LocalAddr().String(), listener.Addr().String()
}

func ask(t *testing.T, network, server, name string, kind uint16) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 30 * time.Second}
	reply, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, kind), server)
	require.NoError(t, err)
	return reply
}

func TestNamesAndAddresses(t *testing.T) {
	udp, tcp := start(t)
	for _, tc := range []struct {
		name string
		kind uint16
		code int
		want string // the end of the first record
	}{
		{"web.net.internal.", dns.TypeA, dns.RcodeSuccess, "10.90.0.2"},
		{"WEB.Net.internal.", dns.TypeA, dns.RcodeSuccess, "10.90.0.2"},
		{"web.net.internal.", dns.TypeAAAA, dns.RcodeSuccess, "fd00::2"},
		{"a.db.net.internal.", dns.TypeA, dns.RcodeSuccess, "10.90.0.3"},
		{"a.db.net.internal.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"web.net.internal.", dns.TypeMX, dns.RcodeSuccess, ""},
		{"net.internal.", dns.TypeA, dns.RcodeSuccess, ""},
		{"nobody.net.internal.", dns.TypeA, dns.RcodeNameError, ""},
		{"2.0.90.10.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "web.net.internal."},
		{"5.0.90.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"9.0.90.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, dns.RcodeSuccess, "web.net.internal."},
		{"example.org.", dns.TypeA, dns.RcodeServerFailure, ""}, // there is no resolver
		{"x.90.10.in-addr.arpa.", dns.TypePTR, dns.RcodeServerFailure, ""},
	} {
		for network, server := range map[string]string{"udp": udp, "tcp": tcp} {
			reply := ask(t, network, server, tc.name, tc.kind)
			require.Equal(t, tc.code, reply.Rcode, "%s %s", network, tc.name)
			if tc.want == "" {
				require.Empty(t, reply.Answer, tc.name)
				continue
			}
			require.Len(t, reply.Answer, 1, tc.name)
			require.Regexp(t, `\t`+tc.want+`$`, reply.Answer[0].String())
			require.True(t, reply.Authoritative)
		}
	}
}

// upstream is a resolver of the host. It answers when its function returns.
func upstream(t *testing.T, handle func(w dns.ResponseWriter, m *dns.Msg)) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(handle)}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestWhatIsNotOurs(t *testing.T) {
	broken := upstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("other.", dns.TypeA))) // another ID, too
	})
	fine := upstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		reply := new(dns.Msg).SetReply(m)
		reply.Answer = addresses(m.Question[0], []netip.Addr{addr("192.0.2.1")})
		_ = w.WriteMsg(reply)
	})
	udp, _ := start(t, broken, fine)
	reply := ask(t, "udp", udp, "example.org.", dns.TypeA)
	require.Equal(t, dns.RcodeSuccess, reply.Rcode)
	require.Regexp(t, `\t192.0.2.1$`, reply.Answer[0].String())
}

// TestResolversThatDoNotAnswer do not keep a station from names of ours, and what is asked
// beyond a station's share is refused at once.
func TestResolversThatDoNotAnswer(t *testing.T) {
	answer := make(chan struct{})
	arrived := make(chan struct{}, maxPending)
	silent := upstream(t, func(w dns.ResponseWriter, m *dns.Msg) {
		arrived <- struct{}{}
		<-answer
	})
	udp, _ := start(t, silent)
	t.Cleanup(func() { close(answer) })
	conn, err := net.Dial("udp4", udp)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	for i := range maxPerSource {
		m := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
		m.Id = uint16(i)
		frame, err := m.Pack()
		require.NoError(t, err)
		_, err = conn.Write(frame)
		require.NoError(t, err)
		<-arrived
	}
	require.Equal(t, dns.RcodeServerFailure, ask(t, "udp", udp, "example.org.", dns.TypeA).Rcode)
	require.Empty(t, arrived, "no resolver was asked")
	require.Equal(t, dns.RcodeSuccess, ask(t, "udp", udp, "web.net.internal.", dns.TypeA).Rcode)
}

func TestWhatIsNoQuestion(t *testing.T) {
	udp, _ := start(t)
	conn, err := net.Dial("udp4", udp)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("nonsense"))
	require.NoError(t, err)
	response := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("web.net.internal.", dns.TypeA))
	frame, err := response.Pack()
	require.NoError(t, err)
	_, err = conn.Write(frame)
	require.NoError(t, err)
	c := dns.Client{Timeout: 30 * time.Second}
	for code, change := range map[int]func(*dns.Msg){
		dns.RcodeNotImplemented: func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
		dns.RcodeFormatError:    func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		dns.RcodeRefused:        func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
	} {
		m := new(dns.Msg).SetQuestion("web.net.internal.", dns.TypeA)
		change(m)
		reply, _, err := c.Exchange(m, udp)
		require.NoError(t, err)
		require.Equal(t, code, reply.Rcode)
	}
}

func TestShares(t *testing.T) {
	s := newShares(3, 2)
	a, b := addr("10.0.0.1"), addr("10.0.0.2")
	require.True(t, s.take(a))
	require.True(t, s.take(a))
	require.False(t, s.take(a), "no more for one")
	require.True(t, s.take(b))
	require.False(t, s.take(b), "no more for all")
	s.give(a)
	require.True(t, s.take(b))
	s.give(b)
	s.give(b)
	s.give(a)
	require.Empty(t, s.of)
}

func FuzzQuestions(f *testing.F) {
	frame, err := new(dns.Msg).SetQuestion("2.0.90.10.in-addr.arpa.", dns.TypePTR).Pack()
	require.NoError(f, err)
	f.Add(frame)
	server := New(wire.Config{Name: "net", Gateway: netip.MustParsePrefix("10.90.0.1/24")}, stations.New(), nil)
	f.Fuzz(func(t *testing.T, frame []byte) {
		m := new(dns.Msg)
		if m.Unpack(frame) != nil {
			return
		}
		server.respond(m, "udp", netip.Addr{}, func(reply *dns.Msg) {
			reply.Truncate(room(m))
			_, _ = reply.Pack() // it does not crash
		})
	})
}

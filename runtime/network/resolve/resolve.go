// Package resolve is the DNS server of a network. It answers for the names and addresses of
// stations from their table, and asks the resolvers of the host for everything else, with few
// questions at a time for each station, so that one that floods it slows only itself.
package resolve

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"albatross/runtime/network/stations"
	"albatross/runtime/network/wire"
)

const (
	// Port is where stations ask.
	Port = 53
	// ttl is how long a station may remember an answer of ours, in seconds.
	ttl = 10
	// upstreamTimeout bounds the answer of one resolver.
	upstreamTimeout = 3 * time.Second
	// maxPending and maxPerSource bound the questions that wait for resolvers.
	maxPending   = 256
	maxPerSource = 32
	// maxConns bounds the connections by TCP, and maxConnsPerSource those of a station.
	maxConns          = 128
	maxConnsPerSource = 8
	// idle bounds the time between two questions on a connection.
	idle = 10 * time.Second
	// maxUDP is the size of an answer by UDP that needs no agreement.
	maxUDP = 512
)

// A Server answers the stations of a network.
type Server struct {
	domain   string // with a dot at its end
	gateway  netip.Prefix
	gateway6 netip.Prefix
	table    *stations.Table
	upstream []netip.AddrPort // resolvers of the host

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	pending *shares
	conns   *shares
}

// New returns a server that asks resolvers in their order.
func New(config wire.Config, table *stations.Table, upstream []netip.AddrPort) *Server {
	ctx, stop := context.WithCancel(context.Background())
	return &Server{
		domain: dns.Fqdn(config.Domain()), gateway: config.Gateway.Masked(), gateway6: config.Gateway6.Masked(), table: table, upstream: upstream,
		ctx: ctx, stop: stop, pending: newShares(maxPending, maxPerSource), conns: newShares(maxConns, maxConnsPerSource),
	}
}

// Close ends the questions that wait for resolvers, and the connections. The caller has closed
// what was served.
func (s *Server) Close() {
	s.stop()
	s.running.Wait()
}

// respond answers a question once, at once or, if a resolver has to be asked, later.
func (s *Server) respond(m *dns.Msg, network string, from netip.Addr, send func(*dns.Msg)) {
	if reply, ours := s.own(m); ours {
		send(reply)
		return
	}
	if len(s.upstream) == 0 || !s.pending.take(from) {
		send(failure(m, dns.RcodeServerFailure))
		return
	}
	s.running.Go(func() {
		defer s.pending.give(from)
		send(s.forward(m, network))
	})
}

func failure(m *dns.Msg, code int) *dns.Msg { return new(dns.Msg).SetRcode(m, code) }

// own returns the answer to a question that needs no resolver.
func (s *Server) own(m *dns.Msg) (reply *dns.Msg, ours bool) {
	switch {
	case m.Opcode != dns.OpcodeQuery:
		return failure(m, dns.RcodeNotImplemented), true
	case len(m.Question) != 1:
		return failure(m, dns.RcodeFormatError), true
	}
	q := m.Question[0]
	name := strings.ToLower(q.Name)
	if q.Qclass != dns.ClassINET {
		return failure(m, dns.RcodeRefused), true
	}
	if host, below := strings.CutSuffix(name, "."+s.domain); below {
		list, found := s.table.Named(host)
		return s.answer(m, found, addresses(q, list)), true
	}
	if name == s.domain {
		return s.answer(m, true, nil), true
	}
	if a, reverse := parseReverse(name); reverse && (s.gateway.Contains(a) || s.gateway6.Contains(a)) {
		station, found := s.table.At(a)
		host := stations.HostName(station)
		return s.answer(m, found && host != "", s.pointer(q, host)), true
	}
	return nil, false
}

// answer returns one with authority.
func (s *Server) answer(m *dns.Msg, found bool, records []dns.RR) *dns.Msg {
	reply := new(dns.Msg).SetReply(m)
	reply.Authoritative, reply.RecursionAvailable = true, true
	if !found {
		reply.Rcode = dns.RcodeNameError
	}
	if reply.Answer = records; len(records) == 0 {
		reply.Ns = []dns.RR{s.authority()}
	}
	return reply
}

// authority lets a station remember for a moment that something is not there (RFC 2308).
func (s *Server) authority() dns.RR {
	return &dns.SOA{
		Hdr: head(s.domain, dns.TypeSOA), Ns: "gateway." + s.domain, Mbox: "gateway." + s.domain,
		Serial: 1, Refresh: ttl, Retry: ttl, Expire: ttl, Minttl: ttl,
	}
}

func head(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// addresses returns the records that a question asks for.
func addresses(q dns.Question, list []netip.Addr) (records []dns.RR) {
	for _, a := range list {
		switch {
		case a.Is4() && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
			records = append(records, &dns.A{Hdr: head(q.Name, dns.TypeA), A: a.AsSlice()})
		case a.Is6() && (q.Qtype == dns.TypeAAAA || q.Qtype == dns.TypeANY):
			records = append(records, &dns.AAAA{Hdr: head(q.Name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	return records
}

func (s *Server) pointer(q dns.Question, host string) []dns.RR {
	name := host + "." + s.domain
	if _, valid := dns.IsDomainName(name); host == "" || !valid || q.Qtype != dns.TypePTR && q.Qtype != dns.TypeANY {
		return nil
	}
	return []dns.RR{&dns.PTR{Hdr: head(q.Name, dns.TypePTR), Ptr: name}}
}

// parseReverse returns the address that a name of a reverse lookup stands for.
func parseReverse(name string) (a netip.Addr, ok bool) {
	if digits, four := strings.CutSuffix(name, ".in-addr.arpa."); four {
		parts := strings.Split(digits, ".")
		if len(parts) != 4 {
			return a, false
		}
		a, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return a, err == nil
	}
	nibbles, six := strings.CutSuffix(name, ".ip6.arpa.")
	if !six || len(nibbles) != 63 {
		return a, false
	}
	var text strings.Builder
	for i := 62; i >= 0; i -= 2 {
		text.WriteByte(nibbles[i])
		if i%8 == 0 && i > 0 {
			text.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(text.String())
	return a, err == nil
}

// forward asks one resolver after the other.
func (s *Server) forward(m *dns.Msg, network string) *dns.Msg {
	question := m.Copy()
	client := dns.Client{Net: network, Timeout: upstreamTimeout, UDPSize: dns.DefaultMsgSize}
	for _, upstream := range s.upstream {
		question.Id = dns.Id() // what a station chooses can be guessed
		reply, _, err := client.ExchangeContext(s.ctx, question, upstream.String())
		if err == nil && len(reply.Question) == 1 && strings.EqualFold(reply.Question[0].Name, m.Question[0].Name) &&
			reply.Question[0].Qtype == m.Question[0].Qtype {
			reply.Id = m.Id
			return reply
		}
	}
	return failure(m, dns.RcodeServerFailure)
}

// room returns how large an answer by UDP may be.
func room(m *dns.Msg) int {
	if edns := m.IsEdns0(); edns != nil {
		return max(maxUDP, int(edns.UDPSize()))
	}
	return maxUDP
}

// shares are places that sources have, each some of them at most.
type shares struct {
	mu        sync.Mutex
	total     int
	of        map[netip.Addr]int
	max       int
	perSource int
}

func newShares(most, perSource int) *shares {
	return &shares{of: map[netip.Addr]int{}, max: most, perSource: perSource}
}

func (s *shares) take(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.max || s.of[from] >= s.perSource {
		return false
	}
	s.total++
	s.of[from]++
	return true
}

func (s *shares) give(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.of[from]--; s.of[from] == 0 {
		delete(s.of, from)
	}
}

// source returns the address of a peer.
func source(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"albatross/sockets/monotonic"
)

// What a handshake may cost.
const (
	// smallHandshake bounds all messages of a handshake together, unless the certificate
	// contains an image: a chain of nine certificates has 9 KB.
	smallHandshake = 64 << 10

	// largeHandshake bounds such a handshake: the largest possible certificate message,
	// records included, and smallHandshake.
	largeHandshake = 1<<24 + 1<<20
)

// GateLimits are about connections whose client is not verified yet.
type GateLimits struct {
	Handshakes int // at once; a further one takes the place of another
	Large      int // connections at once that have needed more than smallHandshake

	// Silence is how long a connection may be silent if its own address needs the place.
	// Other addresses get the place at once if this one has more places than theirs.
	Silence time.Duration

	Patience      time.Duration // for a handshake
	LargePatience time.Duration // for a large one
}

// DefaultGate is for production. A small handshake uses less than 300 KB of memory, a
// large one less than 100 MB (see TestWhatAHandshakeCosts), so all together use less than
// 450 MB.
var DefaultGate = GateLimits{
	Handshakes: 128, Large: 4, Silence: time.Second,
	Patience: 15 * time.Second, LargePatience: time.Minute,
}

// WithPatience returns the same limits with this patience for handshakes, and four times
// as much for large ones.
func (g GateLimits) WithPatience(patience time.Duration) GateLimits {
	g.Patience, g.LargePatience = patience, 4*patience
	return g
}

var (
	errCrowd = errors.New("too many connections are in their handshake, and its address has most of them")
	errPlace = errors.New("others need its place, and its address has most places of those that are in their handshake")
)

// A gate holds the connections in their handshake.
type gate struct {
	limits GateLimits
	large  *semaphore.Weighted

	mu      sync.Mutex
	pending map[*pendingConn]struct{}
}

// A pendingConn is a connection in its handshake.
type pendingConn struct {
	address netip.Addr
	heard   atomic.Int64 // when it last sent something, by monotonic.Now
	known   atomic.Bool  // it has sent a valid certificate, and keeps its place
	end     context.CancelCauseFunc
}

func newGate(limits GateLimits) *gate {
	return &gate{
		limits: limits, large: semaphore.NewWeighted(int64(limits.Large)),
		pending: map[*pendingConn]struct{}{},
	}
}

// enter adds a connection, which end ends. It stays in the gate until leave is called.
func (g *gate) enter(address netip.Addr, end context.CancelCauseFunc) (s *pendingConn, leave func(), err error) {
	s = &pendingConn{address: address, end: end}
	now := monotonic.Now()
	s.heard.Store(int64(now))
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) >= g.limits.Handshakes {
		loses := g.loser(s, now)
		if loses == nil {
			return nil, nil, errCrowd
		}
		delete(g.pending, loses)
		loses.end(errPlace)
	}
	g.pending[s] = struct{}{}
	return s, func() { g.leave(s) }, nil
}

func (g *gate) leave(s *pendingConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pending, s)
}

// loser returns the connection that must give its place to another one: of the address
// with most, the longest silent. If that is the address of the other one, it must have
// been silent for a while.
func (g *gate) loser(comes *pendingConn, now time.Duration) (loses *pendingConn) {
	places := map[netip.Addr]int{comes.address: 1}
	for s := range g.pending {
		places[s.address]++
	}
	for s := range g.pending {
		switch {
		case s.known.Load():
		case loses == nil, places[s.address] > places[loses.address]:
			loses = s
		case places[s.address] == places[loses.address] && s.heard.Load() < loses.heard.Load():
			loses = s
		}
	}
	if loses != nil && loses.address == comes.address && now-time.Duration(loses.heard.Load()) < g.limits.Silence {
		return nil
	}
	return loses
}

var errLargeTurn = errors.New("others have large certificates, too; it was not this one's turn in time")

// A countedConn is the connection under TLS. During the handshake it counts what arrives, and
// makes a client with a large certificate wait for its turn.
type countedConn struct {
	net.Conn
	gate    *gate
	pending *pendingConn
	ctx     context.Context
	until   time.Time // of the handshake

	read  int
	large bool // it has its turn, until it is closed
}

func newCountedConn(ctx context.Context, c net.Conn, g *gate, s *pendingConn) (*countedConn, error) {
	until := time.Now().Add(g.limits.Patience)
	return &countedConn{Conn: c, gate: g, pending: s, ctx: ctx, until: until}, c.SetDeadline(until)
}

func (c *countedConn) Read(b []byte) (int, error) {
	if c.pending.known.Load() {
		return c.Conn.Read(b)
	}
	if c.read >= smallHandshake && !c.large {
		if err := c.takeTurn(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	c.pending.heard.Store(int64(monotonic.Now()))
	if c.read += n; c.read > largeHandshake {
		return 0, errors.New("the handshake is too long")
	}
	return n, err
}

func (c *countedConn) takeTurn() error {
	ctx, cancel := context.WithDeadline(c.ctx, c.until)
	defer cancel()
	if c.gate.large.Acquire(ctx, 1) != nil {
		return errLargeTurn
	}
	c.large = true
	return c.SetDeadline(time.Now().Add(c.gate.limits.LargePatience))
}

// endHandshake ends the limits of the handshake.
func (c *countedConn) endHandshake() error {
	c.pending.known.Store(true)
	return c.SetDeadline(time.Time{})
}

// rejectTimeout bounds the time in which a rejected client can read the reason.
const rejectTimeout = time.Second

// drainRejected reads what the client sends for another moment. Otherwise the client would not
// see the alert with the reason.
func (c *countedConn) drainRejected() {
	until := time.Now().Add(rejectTimeout)
	if until.After(c.until) && !c.large {
		until = c.until
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetDeadline(until) != nil {
		return
	}
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{c.Conn}, make([]byte, recordSize))
}

// done frees the turn of a large certificate, and its memory: the next one may not come
// for hours, and Go would keep the memory as long.
func (c *countedConn) done() {
	if !c.large {
		return
	}
	debug.FreeOSMemory()
	c.gate.large.Release(1)
}

// addressOf returns the address to which limits apply: for IPv6 the network of 2^64
// addresses.
func addressOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.Masked().Addr()
		}
	}
	return address
}

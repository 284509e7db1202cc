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
)

// Handshakes are what strangers can cost.
const (
	// smallHandshake is what all messages of a handshake have together, unless
	// there is an image in the certificate: a chain of nine certificates has 9 KB.
	smallHandshake = 64 << 10

	// largeHandshake is what one may have: the largest certificate message there
	// can be, records included, and smallHandshake.
	largeHandshake = 1<<24 + 1<<20
)

// GateLimits are about connections whose client is not known yet.
type GateLimits struct {
	Handshakes int // at once; who comes then waits to be accepted
	Address    int // of them, from one address; who comes then is not answered
	Large      int // connections at once that have needed more than smallHandshake

	Patience      time.Duration // for a handshake
	LargePatience time.Duration // for one that is large
}

// DefaultGate is for real use. A small handshake takes less than 300 KB of memory,
// a large one less than 100 MB (see TestWhatAHandshakeCosts), so all strangers
// together have less than 450 MB.
var DefaultGate = GateLimits{
	Handshakes: 128, Address: 32, Large: 4,
	Patience: 15 * time.Second, LargePatience: time.Minute,
}

// WithPatience returns the same limits for handshakes that may take as long as
// patience, and four times as long where they are large.
func (l GateLimits) WithPatience(patience time.Duration) GateLimits {
	l.Patience, l.LargePatience = patience, 4*patience
	return l
}

var errCrowd = errors.New("too many connections of this address are in their handshake")

// A gate is where strangers wait.
type gate struct {
	limits GateLimits
	slots  *semaphore.Weighted
	large  *semaphore.Weighted

	mu    sync.Mutex
	count map[netip.Addr]int // of handshakes under way
}

func newGate(limits GateLimits) *gate {
	return &gate{
		limits: limits,
		slots:  semaphore.NewWeighted(int64(limits.Handshakes)),
		large:  semaphore.NewWeighted(int64(limits.Large)),
		count:  map[netip.Addr]int{},
	}
}

// wait waits until there is room for one more handshake.
func (g *gate) wait(ctx context.Context) error { return g.slots.Acquire(ctx, 1) }

// leave is for who does not come, after all.
func (g *gate) leave() { g.slots.Release(1) }

// enter takes a connection for which was waited. It is a stranger until leave is
// called.
func (g *gate) enter(address netip.Addr) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count[address] >= g.limits.Address {
		g.leave()
		return nil, errCrowd
	}
	g.count[address]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.count[address]--; g.count[address] == 0 {
			delete(g.count, address)
		}
		g.leave()
	}, nil
}

var errLargeTurn = errors.New("others have large certificates, too; it was not this one's turn in time")

// A meter is the connection under TLS. As long as its client is a stranger, what
// arrives is counted, and whoever has a large certificate has to wait for a turn.
type meter struct {
	net.Conn
	gate  *gate
	ctx   context.Context
	until time.Time // of the handshake

	known atomic.Bool // who the client is
	read  int
	large bool // it has its turn, until it is closed
}

func newMeter(ctx context.Context, c net.Conn, g *gate) (*meter, error) {
	until := time.Now().Add(g.limits.Patience)
	return &meter{Conn: c, gate: g, ctx: ctx, until: until}, c.SetDeadline(until)
}

func (m *meter) Read(b []byte) (int, error) {
	if m.known.Load() {
		return m.Conn.Read(b)
	}
	if m.read >= smallHandshake && !m.large {
		if err := m.takeTurn(); err != nil {
			return 0, err
		}
	}
	n, err := m.Conn.Read(b)
	if m.read += n; m.read > largeHandshake {
		return 0, errors.New("the handshake is too long")
	}
	return n, err
}

func (m *meter) takeTurn() error {
	ctx, cancel := context.WithDeadline(m.ctx, m.until)
	defer cancel()
	if m.gate.large.Acquire(ctx, 1) != nil {
		return errLargeTurn
	}
	m.large = true
	return m.SetDeadline(time.Now().Add(m.gate.limits.LargePatience))
}

// welcome ends the time as a stranger.
func (m *meter) welcome() error {
	m.known.Store(true)
	return m.SetDeadline(time.Time{})
}

// farewell is how long a stranger may take to be told why it is turned away.
const farewell = time.Second

// dismiss reads for a moment what else a stranger has to say. Otherwise it would
// not see the alert that tells why nobody wants it.
func (m *meter) dismiss() {
	until := time.Now().Add(farewell)
	if until.After(m.until) && !m.large {
		until = m.until
	}
	half, ok := m.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || m.SetDeadline(until) != nil {
		return
	}
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{m.Conn}, make([]byte, recordSize))
}

// done gives back the turn that a large certificate had, and its memory: the next
// one may not come for hours, and Go would keep it for as long.
func (m *meter) done() {
	if !m.large {
		return
	}
	debug.FreeOSMemory()
	m.gate.large.Release(1)
}

// addressOf is whom limits are for: of IPv6, everybody has 2^64 addresses.
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

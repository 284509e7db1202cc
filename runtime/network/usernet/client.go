package usernet

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// maxConns bounds the connections of a station to the outside, and maxFlows its
	// conversations by UDP.
	maxConns = 256
	maxFlows = 256
	// idleFlow is the time after which a conversation by UDP ends in which nothing is said.
	idleFlow = 90 * time.Second
)

// A client is what a station has beyond the gateway.
type client struct {
	ctx    context.Context // ends when the station is dismissed
	cancel context.CancelFunc
	conns  atomic.Int32
	flows  *flows[conversation]
}

func newClient(ctx context.Context) *client {
	c := &client{flows: newFlows[conversation](maxFlows)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// takeConn counts a connection, until giveConn. It refuses one too many.
func (c *client) takeConn() bool {
	if c.conns.Add(1) > maxConns {
		c.conns.Add(-1)
		return false
	}
	return true
}

func (c *client) giveConn() { c.conns.Add(-1) }

// permit returns the station that asks for something outside, and what it asks for. ok is false
// if it may not have that.
func (n *Network) permit(id stack.TransportEndpointID) (c *client, from, to netip.AddrPort, ok bool) {
	from, to = addrPort(id.RemoteAddress, id.RemotePort), addrPort(id.LocalAddress, id.LocalPort)
	if !n.judge.mayLeave(to.Addr()) {
		return nil, from, to, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c = n.clients[from.Addr()]
	return c, from, to, c != nil && !n.closed
}

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(a.AsSlice()) // it has 4 bytes, or 16
	return netip.AddrPortFrom(addr, port)
}

// flows are conversations by UDP, by who has begun each. If there are too many, the one ends that
// has been silent for longest.
type flows[K comparable] struct {
	begun time.Time
	mu    sync.Mutex
	most  int
	list  map[K]*flow
}

// A flow is one conversation by UDP.
type flow struct {
	ctx    context.Context
	cancel context.CancelFunc
	begun  time.Time    // when the list was
	last   atomic.Int64 // when something was said last, in nanoseconds since then: nobody can set that clock
	send   func([]byte) // of a published port: to the station
}

func newFlows[K comparable](most int) *flows[K] {
	return &flows[K]{begun: time.Now(), most: most, list: map[K]*flow{}}
}

// get returns a flow that exists.
func (f *flows[K]) get(key K) *flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list[key]
}

// add begins a flow, which ends with ctx, when it is silent for too long, or when others need its
// place. The caller removes it then.
func (f *flows[K]) add(ctx context.Context, key K) *flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if before := f.list[key]; before != nil {
		before.cancel()
		delete(f.list, key)
	}
	if len(f.list) >= f.most {
		oldest := slices.MinFunc(keys(f.list), func(a, b K) int { return int(f.list[a].last.Load() - f.list[b].last.Load()) })
		f.list[oldest].cancel()
		delete(f.list, oldest)
	}
	added := &flow{begun: f.begun}
	added.ctx, added.cancel = context.WithCancel(ctx)
	added.touch()
	f.list[key] = added
	return added
}

func keys[K comparable](m map[K]*flow) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// remove ends a flow.
func (f *flows[K]) remove(key K, ended *flow) {
	ended.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.list[key] == ended {
		delete(f.list, key)
	}
}

// touch notes that something was said.
func (f *flow) touch() { f.last.Store(int64(time.Since(f.begun))) }

// expire waits until the flow has ended, or has been silent for too long.
func (f *flow) expire() {
	for {
		silent := time.Since(f.begun) - time.Duration(f.last.Load())
		if silent >= idleFlow {
			f.cancel()
			return
		}
		timer := time.NewTimer(idleFlow - silent)
		select {
		case <-f.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

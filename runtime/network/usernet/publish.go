package usernet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/waiter"

	"albatross/messages"
	"albatross/runtime/network/hold"
)

const (
	// maxPublished bounds the connections to a published port, and its conversations by UDP.
	maxPublished = 512
	// acceptPause is the pause after a connection could not be accepted, for there are too
	// many open files.
	acceptPause = 100 * time.Millisecond
)

// A publication is a port of the host that leads to a station.
type publication struct {
	target netip.AddrPort
	socket io.Closer
	ctx    context.Context // ends with the publication
	cancel context.CancelFunc
}

// Publish takes a port of the host, and passes on what comes there to a station. Stations see
// the gateway as the sender.
func (n *Network) Publish(p messages.Publication, at netip.AddrPort, target netip.Addr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return net.ErrClosed
	}
	to := netip.AddrPortFrom(target, p.To)
	if before := n.published[p]; before != nil {
		if before.target != to {
			return fmt.Errorf("port %d leads to %s already", p.From, before.target)
		}
		return nil
	}
	added := &publication{target: to}
	added.ctx, added.cancel = context.WithCancel(n.ctx)
	if err := n.open(added, p.UDP, at); err != nil {
		added.cancel()
		return err
	}
	n.published[p] = added
	return nil
}

func (n *Network) open(p *publication, udp bool, at netip.AddrPort) error {
	if udp {
		conn, err := hold.ListenPacket(at)
		if err != nil {
			return err
		}
		p.socket = conn
		n.runLocked(func() { n.serveUDP(p, conn) })
		return nil
	}
	listener, err := hold.Listen(at)
	if err != nil {
		return err
	}
	p.socket = listener
	n.runLocked(func() { n.serveTCP(p, listener) })
	return nil
}

// Unpublish gives a port back, and ends its connections.
func (n *Network) Unpublish(p messages.Publication) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unpublish(p)
}

func (n *Network) unpublish(p messages.Publication) {
	if published := n.published[p]; published != nil {
		published.cancel()
		_ = published.socket.Close()
		delete(n.published, p)
	}
}

// serveTCP accepts connections until the publication ends. If there are too many, further ones
// wait in the socket.
func (n *Network) serveTCP(p *publication, listener net.Listener) {
	places := make(chan struct{}, maxPublished)
	for {
		select {
		case places <- struct{}{}:
		case <-p.ctx.Done():
			return
		}
		conn, err := listener.Accept()
		if err == nil {
			err = n.serveOne(p, conn.(*net.TCPConn), func() { <-places })
		} else {
			<-places
		}
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return
		default:
			select {
			case <-time.After(acceptPause):
			case <-p.ctx.Done():
				return
			}
		}
	}
}

// serveOne passes on a connection. Its client sees a reset if the station refuses it.
func (n *Network) serveOne(p *publication, client *net.TCPConn, done func()) error {
	started := n.run(func() {
		defer done()
		station, err := n.dialStation(p.ctx, p.target)
		if err != nil {
			_ = client.SetLinger(0) // it is closed next
			_ = client.Close()
			return
		}
		join(p.ctx, client, station)
	})
	if !started {
		done()
		_ = client.Close()
		return net.ErrClosed
	}
	return nil
}

// serveUDP passes on datagrams until the publication ends.
func (n *Network) serveUDP(p *publication, conn *net.UDPConn) {
	list := newFlows[netip.AddrPort](maxPublished)
	buffer := make([]byte, copySize)
	for {
		count, from, err := conn.ReadFromUDPAddrPort(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // a client has refused an answer
			continue
		}
		f := list.get(from)
		if f == nil || f.ctx.Err() != nil {
			f = n.beginFlow(p, conn, list, from)
		}
		if f != nil {
			f.touch()
			f.send(buffer[:count])
		}
	}
}

// beginFlow begins a conversation of a client with a station; there is none if that is not
// possible.
func (n *Network) beginFlow(p *publication, conn *net.UDPConn, list *flows[netip.AddrPort], from netip.AddrPort) *flow {
	queue := new(waiter.Queue)
	ep, err := n.dialStationUDP(p.target, queue)
	if err != nil {
		return nil
	}
	f := list.add(p.ctx, from)
	f.send = func(b []byte) { toEndpoint(ep, b) }
	started := n.run(func() {
		defer list.remove(from, f)
		expired := make(chan struct{})
		go func() { defer close(expired); f.expire() }()
		fromEndpoint(f, queue, ep, func(b []byte) { _, _ = conn.WriteToUDPAddrPort(b, from) })
		ep.Close()
		<-expired
	})
	if !started {
		list.remove(from, f)
		ep.Close()
		return nil
	}
	return f
}

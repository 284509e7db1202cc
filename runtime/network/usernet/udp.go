package usernet

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A conversation is what tells those of one station apart.
type conversation struct {
	from uint16 // the port of the station
	to   netip.AddrPort
}

// converse begins a conversation of a station with the outside. gVisor calls it for the first
// datagram, in the goroutine that handles the frames of the station.
func (n *Network) converse(r *udp.ForwarderRequest) {
	c, from, to, ok := n.permit(r.ID())
	if !ok {
		return
	}
	outside, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return
	}
	var queue waiter.Queue
	ep, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		_ = outside.Close()
		return
	}
	key := conversation{from.Port(), to}
	f := c.flows.add(c.ctx, key)
	started := n.run(func() {
		defer c.flows.remove(key, f)
		defer ep.Close()
		n.exchange(f, &queue, ep, outside)
	})
	if !started {
		c.flows.remove(key, f)
		ep.Close()
		_ = outside.Close()
	}
}

// exchange passes on datagrams until the flow ends.
func (n *Network) exchange(f *flow, queue *waiter.Queue, ep tcpip.Endpoint, outside *net.UDPConn) {
	stop := context.AfterFunc(f.ctx, func() { _ = outside.Close() })
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer f.cancel()
		fromEndpoint(f, queue, ep, func(b []byte) { _, _ = outside.Write(b) })
	}()
	expired := make(chan struct{})
	go func() { defer close(expired); f.expire() }()
	fromOutside(f, outside, func(b []byte) { toEndpoint(ep, b) })
	f.cancel()
	<-ended
	<-expired
	_ = outside.Close()
}

// fromEndpoint takes datagrams of a station until the flow ends. It has a buffer only while there
// is a datagram.
func fromEndpoint(f *flow, queue *waiter.Queue, ep tcpip.Endpoint, send func([]byte)) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	for f.ctx.Err() == nil {
		if !takeOne(f, ep, send) {
			select {
			case <-ready:
			case <-f.ctx.Done():
			}
		}
	}
}

// takeOne returns false if there is no datagram.
func takeOne(f *flow, ep tcpip.Endpoint, send func([]byte)) bool {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	w := tcpip.SliceWriter(*buffer)
	result, err := ep.Read(&w, tcpip.ReadOptions{})
	switch err.(type) {
	case nil:
		f.touch()
		send((*buffer)[:result.Count])
		return true
	case *tcpip.ErrWouldBlock:
		return false
	case *tcpip.ErrConnectionRefused: // by the station
		return true
	}
	f.cancel()
	return false
}

func toEndpoint(ep tcpip.Endpoint, b []byte) {
	r := bytes.NewReader(b)
	_, _ = ep.Write(r, tcpip.WriteOptions{}) // a datagram may be lost
}

// fromOutside takes datagrams from the outside until the socket is closed. It has a buffer only
// while there is a datagram.
func fromOutside(f *flow, outside *net.UDPConn, send func([]byte)) {
	raw, err := outside.SyscallConn()
	if err != nil {
		return
	}
	for {
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			buffer := buffers.Get().(*[]byte)
			defer buffers.Put(buffer)
			var count int
			for failed = unix.EINTR; failed == unix.EINTR; {
				count, failed = unix.Read(int(fd), *buffer)
			}
			if failed == nil {
				f.touch()
				send((*buffer)[:count])
			}
			return failed != unix.EAGAIN
		})
		if err != nil || failed != nil && !errors.Is(failed, unix.ECONNREFUSED) {
			return
		}
	}
}

// dialStationUDP returns an endpoint for datagrams to a station.
func (n *Network) dialStationUDP(to netip.AddrPort, queue *waiter.Queue) (tcpip.Endpoint, error) {
	ep, err := n.stack.NewEndpoint(udp.ProtocolNumber, protocolOf(to.Addr()), queue)
	if err == nil {
		if err = ep.Connect(n.address(to)); err != nil {
			ep.Close()
		}
	}
	if err != nil {
		return nil, errors.New(err.String())
	}
	return ep, nil
}

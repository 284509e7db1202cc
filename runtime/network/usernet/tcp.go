package usernet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxConnecting bounds the connections of all stations that are being made. Each station
	// has far fewer.
	maxConnecting = 16 << 10
	// dialTimeout bounds the making of a connection.
	dialTimeout = 30 * time.Second
	// A station that no longer answers within a connection is asked three times, from a minute
	// of silence on.
	keepIdle     = time.Minute
	keepInterval = 20 * time.Second
	keepCount    = 3
	// copySize is how much is copied at once, in bytes.
	copySize = 64 << 10
)

var buffers = sync.Pool{New: func() any { b := make([]byte, copySize); return &b }}

// connect makes a connection of a station to the outside. The station is refused if the outside
// refuses. gVisor calls it in a goroutine of its own.
func (n *Network) connect(r *tcp.ForwarderRequest) {
	c, _, to, ok := n.permit(r.ID())
	if !ok || !c.takeConn() {
		r.Complete(true)
		return
	}
	if !n.run(func() { defer c.giveConn(); n.connectTo(r, c, to) }) {
		c.giveConn()
		r.Complete(true)
	}
}

func (n *Network) connectTo(r *tcp.ForwarderRequest, c *client, to netip.AddrPort) {
	dialer := net.Dialer{Timeout: dialTimeout}
	outside, err := dialer.DialContext(c.ctx, "tcp", to.String())
	if err != nil {
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	ep, failed := r.CreateEndpoint(&queue)
	r.Complete(false)
	if failed != nil { // the station has given up
		_ = outside.Close()
		return
	}
	keepAlive(ep)
	join(c.ctx, gonet.NewTCPConn(&queue, ep), outside.(*net.TCPConn))
}

// keepAlive finds out when a station has gone. The options exist.
func keepAlive(ep tcpip.Endpoint) {
	idle, interval := tcpip.KeepaliveIdleOption(keepIdle), tcpip.KeepaliveIntervalOption(keepInterval)
	_ = ep.SetSockOpt(&idle)
	_ = ep.SetSockOpt(&interval)
	_ = ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepCount)
	ep.SocketOptions().SetKeepAlive(true)
}

// A half is one side of a connection that is passed on.
type half interface {
	net.Conn
	CloseWrite() error
}

// join passes on what each side says until both have ended, or ctx has.
func join(ctx context.Context, a, b half) {
	stop := context.AfterFunc(ctx, func() { _ = a.Close(); _ = b.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
	_ = a.Close()
	_ = b.Close()
}

// pass copies one direction. When that has failed, the other one ends as well.
func pass(to, from half) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	// Without the methods by which io would make buffers of its own.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, *buffer)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		_ = to.Close()
		_ = from.Close()
	}
}

// dialStation makes a connection to a station.
func (n *Network) dialStation(ctx context.Context, to netip.AddrPort) (half, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := gonet.DialContextTCP(ctx, n.stack, n.address(to), protocolOf(to.Addr()))
	if err != nil {
		return nil, err
	}
	return conn, nil
}

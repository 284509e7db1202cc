package chaos

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
)

// hungUp is instead of a refusal where the connection has broken off, or nobody listens.
const hungUp = "the connection has broken off"

// pauseUnreached is how long a rough caller waits before it tries again to reach a daemon.
const pauseUnreached = 20 * time.Millisecond

// sayRoughly talks on a connection that lasts until the daemon hangs up. A second answer to a
// question would come to the next one.
func (c *caller) sayRoughly(ctx context.Context, socket string, what talk) (messages.Success, string) {
	conn, err := c.connection(ctx, socket)
	if err != nil {
		<-time.After(pauseUnreached)
		return nil, hungUp
	}
	answer, err := what(ctx, conn)
	if c.afar != nil { // a session has one conversation at a time
		c.hangUp(socket)
	}
	var refused *client.Refusal
	switch {
	case err == nil:
		return answer, ""
	case errors.As(err, &refused):
		sum.add(c.h.mode, refusedRoughly, 1)
		return nil, refused.Text
	}
	c.hangUp(socket)
	sum.add(c.h.mode, cutOff, 1)
	if !brokenOff(err) {
		c.h.t.Errorf("%s: %v", c.h.doing, err)
	}
	return nil, hungUp
}

// brokenOff tells whether an error says that the daemon has closed the connection.
func brokenOff(err error) bool {
	for _, cause := range []error{client.ErrNoAnswer, client.ErrClosed, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func (c *caller) connection(ctx context.Context, socket string) (*client.Conn, error) {
	if conn, there := c.conns[socket]; there {
		return conn, nil
	}
	var conn *client.Conn
	var err error
	if c.afar != nil {
		conn, err = c.converse(ctx, messages.Endpoint(socket))
	} else {
		conn, err = client.Dial(ctx, c.h.socket(socket))
	}
	if err == nil {
		c.conns[socket] = conn
	}
	return conn, err
}

func (c *caller) hangUp(socket string) {
	if conn, there := c.conns[socket]; there {
		_ = conn.Close() // it may have broken off
		delete(c.conns, socket)
	}
}

func newRoughCaller(h *host) *caller {
	return &caller{h: h, rough: true, conns: map[string]*client.Conn{}}
}

// leave ends all connections.
func (c *caller) leave() {
	for socket := range c.conns {
		c.hangUp(socket)
	}
	if c.session != nil {
		_ = c.session.Close() // it may have broken off
		c.session = nil
	}
}

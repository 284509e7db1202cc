package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
)

// hungUp is instead of a refusal where the connection has broken off, or nobody listens.
const hungUp = "the connection has broken off"

// pauseUnreached is how long a rough caller waits before it tries again to reach a daemon.
const pauseUnreached = 20 * time.Millisecond

func newRoughCaller(h *host) *caller { return &caller{h: h, rough: true} }

// sayRoughly talks to a daemon that may refuse anything, and hang up at any time. It must do one of
// these or answer, once.
func (c *caller) sayRoughly(ctx context.Context, socket string, what talk) (messages.Success, string) {
	conn, raw, err := c.connection(ctx, socket)
	if err != nil {
		<-time.After(pauseUnreached)
		return nil, hungUp
	}
	defer conn.Close()
	answer, err := what(ctx, conn)
	var refused *client.Refusal
	switch {
	case err == nil:
		c.hearsNoMore(raw)
		return answer, ""
	case errors.As(err, &refused):
		c.hearsNoMore(raw)
		sum.add(c.h.mode, refusedRoughly, 1)
		return nil, refused.Text
	}
	sum.add(c.h.mode, cutOff, 1)
	if !brokenOff(err) {
		c.h.t.Errorf("%s: %v", c.h.doing, err)
	}
	return nil, hungUp
}

// unchanged notes that a change was refused, or not answered. If the daemon does not say for certain
// that it will not come about, it still may.
func (c *caller) unchanged(t thing, refusal string, states ...string) {
	c.h.journal.mayBeBack(t)
	for _, uncertain := range []string{hungUp, "internal error", "cannot write", "tried again", "waits"} {
		if strings.Contains(refusal, uncertain) {
			c.h.journal.mayComeLate(t, states...)
			return
		}
	}
}

// hearsNoMore makes sure that no second answer follows: a daemon hangs up after the first.
func (c *caller) hearsNoMore(raw net.Conn) {
	if raw == nil { // of a session, whose conversations end by themselves
		return
	}
	// It may have broken off.
	_ = raw.(*net.UnixConn).CloseWrite() // of an upload that was refused, more might come
	_ = raw.SetReadDeadline(time.Now().Add(patience))
	if n, err := raw.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
		c.h.t.Errorf("%s: after an answer came %d bytes more, and %v", c.h.doing, n, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
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

// connection connects to a socket of the daemon, or begins a conversation in a session. Then raw is nil.
func (c *caller) connection(ctx context.Context, socket string) (conn *client.Conn, raw net.Conn, err error) {
	if c.afar != nil {
		conn, err = c.converse(ctx, messages.Endpoint(socket))
		return conn, nil, err
	}
	raw, err = (&net.Dialer{}).DialContext(ctx, "unix", c.h.socket(socket))
	if err != nil {
		return nil, nil, err
	}
	return client.New(raw, socket), raw, nil
}

// leave ends the session of a caller, if it has one.
func (c *caller) leave() {
	if c.session != nil {
		_ = c.session.Close() // it may have broken off
		c.session = nil
	}
}

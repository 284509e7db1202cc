// Package client asks a daemon over a socket, in the wire protocol of native
// albatross: one command, one answer, and what streams after it.
//
// A Conn belongs to one goroutine. Whatever is waited for ends when the context
// ends, by closing the connection: half a message cannot be taken up again. An
// answer is waited for as long as AnswerTimeout, lines of a console for ever.
//
// What went wrong is told by the type of the error, because a caller acts on
// it: *ConnectError, *ProtocolError, and *Refusal for what the daemon said no
// to.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"albatross/messages"
	"albatross/sockets/wire"
)

// How long is waited.
const (
	// ConnectTimeout is for a daemon on the same machine, which has nothing to
	// do but to accept.
	ConnectTimeout = 5 * time.Second

	// AnswerTimeout covers a destroy that waits for a unikernel to end, and a
	// create with the largest image on a slow disk.
	AnswerTimeout = 2 * time.Minute
)

// A Conn is a connection to a daemon.
type Conn struct {
	conn   net.Conn
	peer   string // who is asked, for errors
	header messages.Header
}

// Dial connects to the Unix socket at a path.
func Dial(ctx context.Context, path string) (*Conn, error) {
	dialer := net.Dialer{Timeout: ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, &ConnectError{Peer: path, Err: rootCause(err)}
	}
	return New(conn, path), nil
}

// New talks to the peer at the other end of a connection, which is named in
// errors. The connection is the Conn's from now on.
func New(conn net.Conn, peer string) *Conn {
	return &Conn{conn: conn, peer: peer, header: messages.Header{Version: messages.CurrentVersion, Sequence: -1}}
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Ask sends a command about a name and waits for the answer.
func (c *Conn) Ask(ctx context.Context, name messages.Name, command messages.Command) (messages.Success, error) {
	c.header.Name = name
	c.header.Sequence++
	frame, err := wire.AppendFrame(nil, messages.Wire{Header: c.header, Payload: command})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, AnswerTimeout, errNoAnswer)
	defer cancel()
	var answer messages.Wire
	err = c.during(ctx, func() (err error) {
		answer, err = c.exchange(frame)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.judge(answer)
}

// exchange writes a frame and reads the one that answers it.
func (c *Conn) exchange(frame []byte) (messages.Wire, error) {
	// A daemon that refuses a message may close before it has read all of it,
	// and say why before that: so a write that fails is no reason not to read.
	_, writeErr := c.conn.Write(frame)
	answer, err := c.read(wire.MaxFrame)
	if err != nil && writeErr != nil {
		return messages.Wire{}, fmt.Errorf("cannot send the command: %w", rootCause(writeErr))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, wire.ErrEnd) {
		return messages.Wire{}, ErrNoAnswer
	}
	return answer, err
}

func (c *Conn) read(max int) (messages.Wire, error) {
	frame, err := wire.ReadFrame(c.conn, max)
	if err != nil {
		return messages.Wire{}, rootCause(err)
	}
	return wire.Decode(frame)
}

// judge tells a success from everything else.
func (c *Conn) judge(answer messages.Wire) (messages.Success, error) {
	if answer.Header != c.header {
		return nil, c.failed(fmt.Errorf("the answer is to another question (version %d, sequence %d, name %v)",
			answer.Header.Version, answer.Header.Sequence, answer.Header.Name))
	}
	switch p := answer.Payload.(type) {
	case messages.Success:
		return p, nil
	case messages.Failure:
		return nil, &Refusal{Name: answer.Header.Name, Text: p.Text}
	}
	return nil, c.failed(fmt.Errorf("the answer is a %T", answer.Payload))
}

// Next waits for the next message of the stream that follows the answer. At its
// end it returns io.EOF, where the daemon has marked it.
func (c *Conn) Next(ctx context.Context) (messages.Name, messages.Data, error) {
	var m messages.Wire
	err := c.during(ctx, func() (err error) {
		m, err = c.readNext()
		return err
	})
	if err != nil {
		return messages.Name{}, nil, err
	}
	data, ok := m.Payload.(messages.Data)
	if !ok {
		return messages.Name{}, nil, c.failed(fmt.Errorf("the stream has a %T in it", m.Payload))
	}
	return m.Header.Name, data, nil
}

// NextLine is Next for who follows a console: it costs less, and whatever is no
// line is an error.
func (c *Conn) NextLine(ctx context.Context) (line messages.DataConsole, err error) {
	err = c.during(ctx, func() error {
		frame, err := c.nextFrame()
		if err != nil {
			return err
		}
		_, line, err = wire.DecodeLine(frame)
		return err
	})
	return line, err
}

func (c *Conn) readNext() (messages.Wire, error) {
	frame, err := c.nextFrame()
	if err != nil {
		return messages.Wire{}, err
	}
	return wire.Decode(frame)
}

// nextFrame reads a frame of the stream that follows an answer.
func (c *Conn) nextFrame() ([]byte, error) {
	frame, err := wire.ReadFrame(c.conn, wire.MaxChunk)
	switch {
	case err == nil:
		return frame, nil
	case errors.Is(err, wire.ErrEnd):
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, errClosed
	}
	return nil, rootCause(err)
}

// during runs what reads and writes, and closes the connection under it when
// the context ends.
func (c *Conn) during(ctx context.Context, work func() error) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		c.conn.Close()
	})
	err := work()
	if !stop() {
		<-closed
	}
	switch {
	case err == nil || err == io.EOF:
		return err
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return c.failed(err)
}

func (c *Conn) failed(err error) error { return &ProtocolError{Peer: c.peer, Err: err} }

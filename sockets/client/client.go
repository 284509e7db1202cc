// Package client asks a daemon over a socket, in the wire protocol of native
// albatross: one command, one answer, and the streams of both.
//
// A Conn belongs to one goroutine. Whatever is waited for ends when the context
// ends, by closing the connection: half a message cannot be taken up again. An
// answer is waited for as long as AnswerTimeout, lines of a console and events
// for ever. Contents of block devices may take as long as they like, but no part
// of them longer than AnswerTimeout.
//
// A daemon far away is asked through its endpoint, over TLS. The certificate that
// is shown there says the command, so that none is sent.
//
//	client.go       a command and its answer
//	stream.go       what the daemon sends behind an answer
//	upload.go       what is sent behind a command
//	tls.go          an endpoint
//	events.go       how unikernels ended
//	eventstream.go  what happens
//	errors.go       what can go wrong
//
// What went wrong is told by the type of the error, because a caller acts on
// it: *ConnectError, *TrustError, *ProtocolError, *Refusal for what the daemon
// said no to, and *Ended for what it does not go on with.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
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

	// FlushTimeout is for the answer to an upload that has been taken completely:
	// much of it may have yet to be written to a slow disk.
	FlushTimeout = 15 * time.Minute
)

// A Conn is a connection to a daemon.
type Conn struct {
	conn   net.Conn
	peer   string // who is asked, for errors
	shown  bool   // the command has been said by a certificate
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

// Name returns what the answer is about: what was asked for, and from afar that below
// the path that the certificates say.
func (c *Conn) Name() messages.Name { return c.header.Name }

// CloseWrite tells a daemon of ours that nothing more will be said. One that is
// followed for its console sends what there is, and closes the connection then.
func (c *Conn) CloseWrite() error {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return c.failed(errors.ErrUnsupported)
	}
	if err := half.CloseWrite(); err != nil {
		return c.failed(rootCause(err))
	}
	return nil
}

// Ask sends a command about a name and waits for the answer.
func (c *Conn) Ask(ctx context.Context, name messages.Name, command messages.Command) (messages.Success, error) {
	frame, err := c.question(name, command)
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

// question returns the frame of the next command; it is empty where the command has
// been said already.
func (c *Conn) question(name messages.Name, command messages.Command) (net.Buffers, error) {
	if c.shown {
		return nil, nil
	}
	c.header.Name = name
	c.header.Sequence++
	return wire.AppendPieces(nil, messages.Wire{Header: c.header, Payload: command})
}

// exchange writes a frame and reads the one that answers it.
func (c *Conn) exchange(frame net.Buffers) (messages.Wire, error) {
	// A daemon that refuses a message may close before it has read all of it,
	// and say why before that: so a write that fails is no reason not to read.
	_, writeErr := frame.WriteTo(c.conn)
	answer, err := c.readAnswer()
	if err != nil && writeErr != nil {
		return messages.Wire{}, fmt.Errorf("cannot send the command: %w", c.cause(writeErr))
	}
	return answer, err
}

// readAnswer reads the frame that answers a command.
func (c *Conn) readAnswer() (messages.Wire, error) {
	frame, err := wire.ReadFrame(c.conn, wire.MaxFrame)
	switch {
	case err == nil:
		return wire.Decode(frame)
	case errors.Is(err, io.EOF), errors.Is(err, wire.ErrEnd), errors.Is(err, syscall.ECONNRESET):
		return messages.Wire{}, ErrNoAnswer
	}
	return messages.Wire{}, c.cause(err)
}

// judge tells a success from everything else.
func (c *Conn) judge(answer messages.Wire) (messages.Success, error) {
	if c.shown { // the endpoint has made up the question
		c.header = answer.Header
	}
	if answer.Header != c.header {
		return nil, c.failed(fmt.Errorf("the answer is to another question (version %d, sequence %d, name %v)",
			answer.Header.Version, answer.Header.Sequence, answer.Header.Name))
	}
	switch p := answer.Payload.(type) {
	case messages.Success:
		return p, nil
	case messages.Failure:
		return nil, &Refusal{Name: answer.Header.Name, Text: string(p.Text)}
	}
	return nil, c.failed(fmt.Errorf("the answer is a %T", answer.Payload))
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

func (c *Conn) failed(err error) error {
	if refused := new(TrustError); errors.As(err, &refused) {
		return refused
	}
	if ended := new(Ended); errors.As(err, &ended) {
		return ended
	}
	return &ProtocolError{Peer: c.peer, Err: err}
}

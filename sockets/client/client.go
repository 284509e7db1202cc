// Package client asks a daemon over a socket, in the wire protocol of native albatross: one
// command, one answer, and the streams of both.
//
// A Conn belongs to one goroutine. When a context ends, the connection is closed, since half a
// message cannot be resumed. The limit for an answer is AnswerTimeout; there is none for lines
// of a console and for events. Contents of block devices may take any time, but each part at
// most AnswerTimeout.
//
// A remote daemon is asked through its endpoint, over TLS. The client's certificate contains
// the command, so that none is sent.
//
//	client.go       a command and its answer
//	stream.go       what the daemon sends after an answer
//	upload.go       what the client sends after a command
//	tls.go          an endpoint
//	session.go      several commands to an endpoint, on one connection
//	pool.go         several sessions, as many as are needed at the same time
//	control.go      what native albatross cannot say
//	eventstream.go  events as they happen
//	errors.go       what can go wrong
//
// Callers act on the type of an error: *ConnectError, *TrustError, *ProtocolError, *Refusal if
// the daemon refuses the command, and *Ended if it ends a stream.
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

// The timeouts.
const (
	// ConnectTimeout is for a daemon on the same machine, which only has to accept.
	ConnectTimeout = 5 * time.Second

	// AnswerTimeout covers a destroy that waits for a unikernel to end, and a create with
	// the largest image on a slow disk.
	AnswerTimeout = 2 * time.Minute

	// FlushTimeout is for the answer to a complete upload: much of it may still have to
	// be written to a slow disk.
	FlushTimeout = 15 * time.Minute
)

// A Conn is a connection to a daemon.
type Conn struct {
	conn          net.Conn
	peer          string // for errors
	inCertificate bool   // a certificate contains the command
	afar          bool   // the endpoint chooses the headers of answers
	header        messages.Header

	counted func(size int64, r io.Reader) io.Reader // of Deploy; nil: nobody counts
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

// New returns a Conn with the peer at the other end of a connection, whose name is for
// errors. The Conn owns the connection.
func New(conn net.Conn, peer string) *Conn {
	return &Conn{conn: conn, peer: peer, header: messages.Header{Version: messages.CurrentVersion, Sequence: -1}}
}

// Close ends the connection; in a session, the conversation.
func (c *Conn) Close() error { return c.conn.Close() }

// abort ends the connection, also while something is under way.
func (c *Conn) abort() {
	if said, ok := c.conn.(*conversation); ok {
		said.session.Close()
		return
	}
	c.conn.Close()
}

// Name returns what the answer is about: the requested name, and for a remote client that
// name below the path of its certificates.
func (c *Conn) Name() messages.Name { return c.header.Name }

// OneCommand reports whether the connection is for the command in a certificate only.
func (c *Conn) OneCommand() bool { return c.inCertificate }

// CloseWrite announces to a daemon of ours that no more commands follow. A daemon that
// streams a console then sends what there is, and closes the connection.
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

// question returns the frame of the next command; empty: the certificate contains the
// command.
func (c *Conn) question(name messages.Name, command messages.Command) (net.Buffers, error) {
	if c.inCertificate {
		return nil, nil
	}
	c.header.Name = name
	c.header.Sequence++
	create, ok := command.(messages.UnikernelCreate)
	image := create.Config.Image
	if !c.afar || !ok || len(image) == 0 {
		return wire.AppendPieces(nil, messages.Wire{Header: c.header, Payload: command})
	}
	create.Config.Image = nil
	frame, err := wire.AppendPieces(nil, messages.Wire{Header: c.header, Payload: create})
	return append(frame, wire.AppendStream(nil, image)...), err
}

// exchange writes a frame and reads the answer.
func (c *Conn) exchange(frame net.Buffers) (messages.Wire, error) {
	// A daemon that refuses a message may send the reason and close before it has read
	// all of it: so read even if the write fails.
	_, writeErr := frame.WriteTo(c.conn)
	answer, err := c.readAnswer()
	if err != nil && writeErr != nil && !isRefusal(err) {
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

// judge returns an error for anything but a success.
func (c *Conn) judge(answer messages.Wire) (messages.Success, error) {
	if c.afar {
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

// during runs work, and closes the connection when the context ends.
func (c *Conn) during(ctx context.Context, work func() error) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		c.abort()
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
	if refused := new(Refusal); errors.As(err, &refused) {
		return refused
	}
	return &ProtocolError{Peer: c.peer, Err: err}
}

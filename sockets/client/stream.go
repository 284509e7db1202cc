package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"albatross/messages"
	"albatross/sockets/wire"
)

// Next waits for the next message of the stream after the answer. It returns io.EOF at
// the end that the daemon has marked, and an *Ended if the daemon gives a reason.
func (c *Conn) Next(ctx context.Context) (messages.Name, messages.Data, error) {
	return c.next(ctx, c.readNext)
}

func (c *Conn) next(ctx context.Context, read func() (messages.Wire, error)) (messages.Name, messages.Data, error) {
	var m messages.Wire
	err := c.during(ctx, func() (err error) {
		m, err = read()
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

// NextLine is Next for console lines: it costs less, and anything else is an error.
func (c *Conn) NextLine(ctx context.Context) (line messages.DataConsole, err error) {
	err = c.during(ctx, func() error {
		frame, err := c.nextFrame()
		if err != nil {
			return err
		}
		if _, line, err = wire.DecodeLine(frame); err != nil {
			err = cmp.Or(reasonIn(frame), err)
		}
		return err
	})
	return line, err
}

func (c *Conn) readNext() (messages.Wire, error) { return decodeNext(c.nextFrame()) }

// decodeNext decodes a frame of the stream, which has parts of it from then on.
func decodeNext(frame []byte, err error) (messages.Wire, error) {
	if err != nil {
		return messages.Wire{}, err
	}
	m, err := wire.Decode(frame)
	if err != nil {
		return messages.Wire{}, err
	}
	return m, reason(m)
}

// reason returns an *Ended if a message is the daemon's reason for ending the stream.
func reason(m messages.Wire) error {
	if f, ok := m.Payload.(messages.Failure); ok {
		return &Ended{Name: m.Header.Name, Text: string(f.Text)}
	}
	return nil
}

func reasonIn(frame []byte) error {
	m, err := wire.Decode(frame)
	if err != nil {
		return nil
	}
	return reason(m)
}

// nextFrame reads a frame of the stream after an answer.
func (c *Conn) nextFrame() ([]byte, error) { return c.isNext(wire.ReadFrame(c.conn, wire.MaxChunk)) }

// isNext says what an error means in a stream.
func (c *Conn) isNext(frame []byte, err error) ([]byte, error) {
	switch {
	case err == nil:
		return frame, nil
	case errors.Is(err, wire.ErrEnd):
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, ErrClosed
	case c.afar && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)): // the endpoint has gone
		return nil, ErrClosed
	}
	return nil, c.cause(err)
}

// Contents reads the contents of a block device after the answer to a dump. It returns
// io.EOF only at the end that the daemon has marked.
func (c *Conn) Contents(ctx context.Context) io.Reader { return &contents{ctx: ctx, conn: c} }

type contents struct {
	ctx    context.Context
	conn   *Conn
	buffer wire.FrameBuffer // of the last chunk: a new one for each would cost more than all else
	rest   []byte           // of the last chunk
	err    error            // why there are no more chunks
}

func (c *contents) Read(b []byte) (int, error) {
	for len(c.rest) == 0 && len(b) > 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.rest, c.err = c.nextChunk()
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *contents) nextChunk() ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(c.ctx, AnswerTimeout, errStalled)
	defer cancel()
	_, data, err := c.conn.next(ctx, func() (messages.Wire, error) {
		return decodeNext(c.conn.isNext(c.buffer.Read(c.conn.conn, wire.MaxChunk)))
	})
	block, ok := data.(messages.DataBlock)
	var ended *Ended
	switch {
	case errors.As(err, &ended): // something is missing, as if it had been cut off
		return nil, c.conn.failed(errors.New(ended.Text))
	case err == io.EOF: // of the connection: a dump ends with a message of its own
		return nil, c.conn.failed(ErrClosed)
	case err != nil:
		return nil, err
	case !ok:
		return nil, c.conn.failed(fmt.Errorf("the stream has a %T in it", data))
	case !block.Chunk.OK:
		return nil, io.EOF
	}
	return block.Chunk.Value, nil
}

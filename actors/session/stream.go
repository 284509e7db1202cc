package session

import (
	"context"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

const (
	// dumpChunk is how much of a dump is in one message: it fits into the usual buffer of
	// clients, 64 KiB.
	dumpChunk = 64<<10 - 512
	// drainTimeout bounds how long a client may continue a stream that is not needed. A
	// client that reads the answer only afterwards would otherwise not see it.
	drainTimeout = time.Minute
)

// An upload is the stream that follows a command.
type upload struct {
	expected bool
	reading  bool // a read is under way
	ended    bool // it has ended, or was cut off
	credit   int  // requested parts
	buffers  messages.StreamBuffers
	to       *actor.PID
}

// The session's messages from its own goroutines and timers about a stream.
type (
	streamed struct {
		data []byte
		err  error
	}
	drainOver struct{}
)

// moreAsked is the block device's credit for one more part.
func (s *session) moreAsked(c *supervise.Context) {
	s.upload.to = c.Sender()
	s.upload.credit++
	s.readStream(c)
}

// readStream reads the next part, if there is credit. It passes the end on once.
func (s *session) readStream(c *supervise.Context) {
	u := &s.upload
	if u.reading || u.ended || u.credit == 0 {
		return
	}
	u.reading = true
	u.credit--
	part := u.buffers.Next()
	c.Go(func(context.Context) any {
		n, err := readPart(s.client, part)
		return streamed{part[:n], err}
	})
}

// readPart fills b as far as the stream goes.
func readPart(client Client, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = client.ReadStream(b[n:])
		n += more
	}
	return n, err
}

func (s *session) streamed(c *supervise.Context, m streamed) {
	s.upload.reading = false
	s.upload.ended = m.err != nil
	switch s.state {
	case asking:
		c.Request(s.upload.to, chunk(c, m))
		s.readStream(c)
	case draining:
		s.drain(c)
	default: // the answer is being written; written drains the rest
	}
}

func chunk(c *supervise.Context, m streamed) messages.BlockChunk {
	switch m.err {
	case nil:
		return messages.BlockChunk{Data: m.data}
	case io.EOF:
		return messages.BlockChunk{Data: m.data, Last: true}
	}
	return messages.BlockChunk{Err: c.Public(m.err)}
}

// drain reads the rest of a stream that is not needed, and then closes the connection.
func (s *session) drain(c *supervise.Context) {
	if s.upload.ended {
		c.Stop(c.Self())
		return
	}
	if s.state != draining {
		s.state = draining
		c.After(drainTimeout, drainOver{})
	}
	s.upload.credit = 1
	s.readStream(c)
}

// followBlock passes the contents of a block device on.
func (s *session) followBlock(c *supervise.Context, m messages.BlockChunk) {
	if m.Err != "" { // without the end mark, the client sees that something is missing
		c.Log().Error("Cannot dump a block device", "error", m.Err)
		s.detached(c)
		return
	}
	if s.state != following {
		return
	}
	var frames []messages.Wire
	for data := m.Data; len(data) > 0; {
		n := min(len(data), dumpChunk)
		frames = append(frames, s.blockFrame(messages.Some(data[:n])))
		data = data[n:]
	}
	if m.Last {
		frames = append(frames, s.blockFrame(messages.Option[[]byte]{}))
		s.source = nil
	}
	s.write(c, frames...)
}

func (s *session) blockFrame(chunk messages.Option[[]byte]) messages.Wire {
	return messages.Wire{Header: s.header, Payload: messages.DataBlock{Chunk: chunk}}
}

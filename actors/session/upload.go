package session

import (
	"context"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// drainTimeout is how long a client may go on with a stream that nobody wants any more.
// One that only reads the answer behind it would never see it otherwise.
const drainTimeout = time.Minute

// upload passes the stream that follows a command on to a block device.
type upload struct {
	answer
	reading bool // a read is under way
	ended   bool // it has come to its end, or was cut off
	credit  int  // parts that are wanted
	buffers messages.StreamBuffers
	to      *actor.PID
}

// The messages of the session's own goroutines and timers about a stream.
type (
	streamed struct {
		data []byte
		err  error
	}
	drainOver struct{}
)

func (u *upload) handle(c *supervise.Context, s *session, message any) {
	switch m := message.(type) {
	case messages.More:
		u.moreAsked(c, s)
	case streamed:
		u.streamed(c, s, m)
	case drainOver:
		c.Stop(c.Self())
	default:
		c.Unknown(message)
	}
}

// moreAsked is the credit of a block device for one more part.
func (u *upload) moreAsked(c *supervise.Context, s *session) {
	u.to = c.Sender()
	u.credit++
	u.read(c, s)
}

// read reads the next part, if it is wanted. Its end is passed on only once.
func (u *upload) read(c *supervise.Context, s *session) {
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

func (u *upload) streamed(c *supervise.Context, s *session, m streamed) {
	u.reading = false
	u.ended = m.err != nil
	switch s.state {
	case asking:
		c.Request(u.to, chunk(c, m))
		u.read(c, s)
	case draining:
		u.drain(c, s)
	default: // the answer is being written; then the rest is drained
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

func (u *upload) written(c *supervise.Context, s *session) { u.drain(c, s) }

// drain reads what nobody wants any more, and closes the connection behind it.
func (u *upload) drain(c *supervise.Context, s *session) {
	if u.ended {
		c.Stop(c.Self())
		return
	}
	if s.state != draining {
		s.state = draining
		c.After(drainTimeout, drainOver{})
	}
	u.credit = 1
	u.read(c, s)
}

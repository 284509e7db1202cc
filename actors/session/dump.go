package session

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// dumpChunk is how much of a dump is in one message: it fits in 64 KiB, which clients
// have ready.
const dumpChunk = 64<<10 - 512

// dump passes the contents of a block device on.
type dump struct{ answer }

// begin does not watch the block device: it says itself where it ends, and word from the
// system would overtake its last part.
func (dump) begin(c *supervise.Context, s *session) { s.follows.source = c.Sender() }

func (d dump) handle(c *supervise.Context, s *session, message any) {
	switch m := message.(type) {
	case messages.BlockChunk:
		d.chunk(c, s, m)
	default:
		c.Unknown(message)
	}
}

func (dump) chunk(c *supervise.Context, s *session, m messages.BlockChunk) {
	if m.Err != "" { // the client sees that something is missing: the stream has no end
		c.Log().Error("Cannot dump a block device", "error", m.Err)
		s.detached(c)
		return
	}
	if s.state != following {
		return
	}
	frame := func(chunk messages.Option[[]byte]) messages.Wire {
		return messages.Wire{Header: s.header, Payload: messages.DataBlock{Chunk: chunk}}
	}
	var frames []messages.Wire
	for data := m.Data; len(data) > 0; {
		n := min(len(data), dumpChunk)
		frames = append(frames, frame(messages.Some(data[:n])))
		data = data[n:]
	}
	if m.Last {
		frames = append(frames, frame(messages.Option[[]byte]{}))
		s.follows.source = nil
	}
	s.pass(c, frames)
}

// left goes on: the client may have closed its side of the connection only.
func (dump) left(c *supervise.Context, s *session) {
	if s.state != following {
		c.Stop(c.Self())
	}
}

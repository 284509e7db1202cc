package session

import (
	"fmt"

	"albatross/actors/supervise"
	"albatross/messages"
)

// console follows what a unikernel prints.
type console struct {
	answer
	old bool // the client wants lines in the old form
}

func (k *console) begin(c *supervise.Context, s *session) {
	s.follows.source = c.Sender()
	c.Watch(s.follows.source)
}

func (k *console) handle(c *supervise.Context, s *session, message any) {
	switch m := message.(type) {
	case messages.ConsoleLines:
		k.lines(c, s, m)
	case messages.ConsoleLost:
		k.resume(c, s, messages.ConsoleResume(m))
	default:
		c.Unknown(message)
	}
}

func (k *console) lines(c *supervise.Context, s *session, m messages.ConsoleLines) {
	if s.state != following {
		return
	}
	lines := m.Lines
	if m.Missed > 0 {
		s.meter.Missed(m.Missed)
		notice := fmt.Sprintf("[%d lines missed: this client reads too slowly]", m.Missed)
		lines = append([]messages.ConsoleLine{{Time: c.Now(), Text: notice}}, lines...)
	}
	s.pass(c, []messages.Wire{{
		Header:  messages.Header{Version: s.header.Version, Name: s.header.Name},
		Payload: messages.DataLines{Old: k.old, Lines: lines},
	}})
}

// left goes on until the client has all lines that there are: it may have closed its side
// of the connection only. One that has closed both is found out by writing.
func (k *console) left(c *supervise.Context, s *session) {
	if s.state != following || s.follows.source == nil {
		c.Stop(c.Self())
		return
	}
	s.leaves = true
	c.Request(s.follows.source, messages.ConsoleLeave{})
}

// resume makes the session a subscriber again of a console whose actor has failed.
func (k *console) resume(c *supervise.Context, s *session, m messages.ConsoleResume) {
	source := s.follows.source
	if source == nil {
		return // nothing is followed any more
	}
	c.Request(source, m)
	if s.follows.credit {
		c.Request(source, messages.More{})
	}
	if s.leaves {
		c.Request(source, messages.ConsoleLeave{})
	}
}

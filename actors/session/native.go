package session

import (
	"errors"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// collectorPatience is how long a native collector may take for one command.
const collectorPatience = 30 * time.Second

// native gives the native collector at the other end one command after the other. It has
// to answer each.
type native struct {
	answer
	last     messages.Header // of the last command; zero: none was given
	waits    bool            // for the answer to it
	sent     bool
	answered bool
	inTime   func() // ends the wait for the answer
}

// collectorTimeout is the message of a timer of the session.
type collectorTimeout struct{}

func (n *native) begin(c *supervise.Context, s *session) {
	n.last = s.header
	s.follows.source = c.Sender()
}

func (n *native) handle(c *supervise.Context, s *session, message any) {
	switch m := message.(type) {
	case messages.CollectorCommand:
		n.give(c, s, m)
	case collectorTimeout:
		if n.waits { // or it has answered just then
			hangUp(c, errors.New("a native collector does not answer"))
		}
	default:
		c.Unknown(message)
	}
}

// give gives the native collector a command.
func (n *native) give(c *supervise.Context, s *session, m messages.CollectorCommand) {
	if s.state != following || n.waits { // it is about to end
		return
	}
	n.last.Sequence++
	n.last.Name = m.Name
	n.waits, n.sent, n.answered = true, false, false
	n.inTime = c.After(collectorPatience, collectorTimeout{})
	s.pass(c, []messages.Wire{{Header: n.last, Payload: m.Command}})
}

// said takes the answer of the native collector. A failure is one too: it knows best
// why.
func (n *native) said(c *supervise.Context, s *session, wire messages.Wire) {
	if !n.waits || n.answered { // the write of the command may not have returned yet
		c.Stop(c.Self())
		return
	}
	text := messages.Public("")
	switch p := wire.Payload.(type) {
	case messages.Success:
	case messages.Failure:
		text = p.Text
	default:
		hangUp(c, errors.New("a native collector says what is no answer"))
		return
	}
	if wire.Header.Sequence != n.last.Sequence {
		hangUp(c, errors.New("a native collector answers what it was not asked"))
		return
	}
	if text != "" {
		c.Log().Warn("A native collector refuses a command", "name", n.last.Name, "answer", text)
	}
	n.answered = true
	s.receive(c)
	n.goOn(c, s)
}

func (n *native) written(c *supervise.Context, s *session) {
	if !n.waits {
		n.answer.written(c, s)
		return
	}
	n.sent = true
	n.goOn(c, s)
}

// goOn asks for the next command when the one before has been both written and
// answered: either may be heard of first.
func (n *native) goOn(c *supervise.Context, s *session) {
	if n.sent && n.answered {
		n.inTime()
		n.waits = false
		s.follows.more(c)
	}
}

package session

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A conversation is what follows a command of one kind, while the session passes the
// command on and its answer back.
type conversation interface {
	// begin is called when the command has been carried out, before the answer is
	// written. The sender is who has carried it out.
	begin(c *supervise.Context, s *session)
	// handle takes a message that only this kind of conversation knows.
	handle(c *supervise.Context, s *session, message any)
	// written is called when the client has all that was written: first the answer.
	written(c *supervise.Context, s *session)
	// said is called when the client says something while it is answered.
	said(c *supervise.Context, s *session, wire messages.Wire)
	// left is called when the client says nothing more. It may still read.
	left(c *supervise.Context, s *session)
}

func conversationOf(command messages.Payload, is messages.Properties) conversation {
	if subscribe, ok := command.(messages.ConsoleSubscribe); ok {
		return &console{old: subscribe.Old}
	}
	if _, ok := command.(messages.EventsSubscribe); ok {
		return &events{}
	}
	switch {
	case is.Sends == messages.Contents:
		return &upload{}
	case is.Answers == messages.Dump:
		return dump{}
	case is.Answers == messages.Commands:
		return &native{}
	}
	return answer{}
}

// answer is the conversation that ends with the answer; the others are made of it.
type answer struct{}

func (answer) begin(*supervise.Context, *session) {}

func (answer) handle(c *supervise.Context, _ *session, message any) { c.Unknown(message) }

func (answer) written(c *supervise.Context, s *session) {
	switch {
	case s.follows.source == nil:
		s.finish(c)
	case s.state == answering:
		s.state = following
		s.receive(c) // nothing more is expected: it shows when the client leaves
		s.follows.more(c)
	default:
		s.follows.more(c)
	}
}

// said ends the connection, as natively.
func (answer) said(c *supervise.Context, _ *session, _ messages.Wire) { c.Stop(c.Self()) }

func (answer) left(c *supervise.Context, _ *session) { c.Stop(c.Self()) }

// A subscription is whom a session follows, and the credit that it has given.
type subscription struct {
	source *actor.PID // a console, block device, the events or the collector; nil: nobody
	credit bool       // for one message more, which has not come
}

func (s *subscription) more(c *supervise.Context) {
	s.credit = true
	c.Request(s.source, messages.More{})
}

// pass writes what a credit has brought. The next one is given when that is written.
func (s *session) pass(c *supervise.Context, frames []messages.Wire) {
	s.follows.credit = false
	s.write(c, frames...)
}

// reasonTimeout is how long a client that follows nothing any more may take to read what
// it has been sent, and why.
const reasonTimeout = 20 * time.Second

type reasonTimedOut struct{}

// dismissed ends what is followed. If there is a reason, the client reads it behind what
// is being written. Whoever does not read is not waited for.
func (s *session) dismissed(c *supervise.Context, reason messages.Public) {
	if reason == "" || s.follows.source == nil {
		s.detached(c)
		return
	}
	s.follows.source, s.reason = nil, reason
	if s.state != following {
		return // the answer is being written
	}
	c.After(reasonTimeout, reasonTimedOut{})
	if s.follows.credit { // nothing is being written
		s.sendReason(c)
	}
}

// sendReason writes why nothing more is followed. It is a failure, which a follower of a
// console can distinguish from the lines of the unikernel.
func (s *session) sendReason(c *supervise.Context) {
	text := s.reason
	s.state, s.reason = ending, ""
	s.write(c, messages.Wire{Header: s.header, Payload: messages.Failure{Text: text}})
}

// detached ends what is followed without a word. Even if it has ended at once, the
// command is answered.
func (s *session) detached(c *supervise.Context) {
	switch {
	case s.follows.source == nil: // the client has read its end
	case s.state == answering:
		s.follows.source = nil // nothing is followed when the answer is written
	default:
		c.Stop(c.Self())
	}
}

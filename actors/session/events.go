package session

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// events follows the events of a name.
type events struct {
	answer
	present bool // the client has all events that were there when it came
}

func (e *events) begin(c *supervise.Context, s *session) {
	s.follows.source = c.Sender()
	c.Watch(s.follows.source)
}

func (e *events) handle(c *supervise.Context, s *session, message any) {
	switch m := message.(type) {
	case messages.EventBatch:
		e.batch(c, s, m)
	default:
		c.Unknown(message)
	}
}

// batch passes events on, with names relative to the one that was asked for.
func (e *events) batch(c *supervise.Context, s *session, m messages.EventBatch) {
	if s.state != following {
		return
	}
	e.present = e.present || m.Present
	var frames []messages.Wire
	add := func(p messages.Payload) { frames = append(frames, messages.Wire{Header: s.header, Payload: p}) }
	if m.Missed > 0 {
		add(messages.DataMissed{Count: m.Missed})
	}
	for _, event := range m.List {
		event.Event.Name = s.header.Name.Relative(event.Event.Name)
		add(messages.DataEvent{NumberedEvent: event})
	}
	if m.Present {
		add(messages.DataPresent{})
	}
	s.pass(c, frames)
}

func (e *events) written(c *supervise.Context, s *session) {
	if s.leaves && e.present {
		c.Stop(c.Self())
		return
	}
	e.answer.written(c, s)
}

// left goes on until the client has all events that were there when it came.
func (e *events) left(c *supervise.Context, s *session) {
	if s.state != following || e.present && s.follows.credit { // nothing is being written
		c.Stop(c.Self())
		return
	}
	s.leaves = true
}

package session

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// followEvents passes events on, with names relative to the requested one.
func (s *session) followEvents(c *supervise.Context, m messages.EventBatch) {
	if s.state != following {
		return
	}
	s.credit = false
	s.present = s.present || m.Present
	var frames []messages.Wire
	add := func(p messages.Payload) { frames = append(frames, messages.Wire{Header: s.header, Payload: p}) }
	if m.Missed > 0 {
		add(messages.DataMissed{Count: m.Missed})
	}
	for _, e := range m.List {
		e.Event.Name = s.header.Name.Relative(e.Event.Name)
		add(messages.DataEvent{NumberedEvent: e})
	}
	if m.Present {
		add(messages.DataPresent{})
	}
	s.write(c, frames...)
}

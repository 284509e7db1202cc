package session

import (
	"fmt"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// reasonTimeout bounds the time in which a client reads its last lines, and why none
// follow.
const reasonTimeout = 20 * time.Second

type reasonTimedOut struct{}

// ends reports whether the client may stop sending and read on up to an end: that of a
// console's lines, of events, or of the contents of a block device.
func (s *session) ends() bool {
	switch s.more.(type) {
	case messages.ConsoleMore:
		return s.state == following && s.source != nil
	case messages.EventsMore, messages.BlockMore:
		return s.state == following
	}
	return false
}

// follow passes console lines on, in the client's form.
func (s *session) follow(c *supervise.Context, m messages.ConsoleLines) {
	if s.state != following {
		return
	}
	s.credit = false
	var frames []messages.Wire
	line := func(l messages.ConsoleLine) {
		frames = append(frames, messages.Wire{
			Header:  messages.Header{Version: s.header.Version, Name: s.header.Name},
			Payload: messages.DataConsole{Old: s.old, Time: l.Time, Line: l.Text},
		})
	}
	if m.Missed > 0 {
		s.meter.Missed(m.Missed)
		line(messages.ConsoleLine{Time: c.Now(), Text: fmt.Sprintf("[%d lines missed: this client reads too slowly]", m.Missed)})
	}
	for _, l := range m.Lines {
		line(l)
	}
	s.write(c, frames...)
}

// leave continues until the client has what there is: it may have closed only its side of
// the connection. If it has closed both, the next write fails, or there is nothing to
// send. (Statistics have no end: their subscriber has left.)
func (s *session) leave(c *supervise.Context) {
	s.leaves = true
	switch s.more.(type) {
	case messages.ConsoleMore:
		c.Request(s.source, messages.ConsoleLeave{})
	case messages.EventsMore:
		if s.present && s.credit { // nothing is being written
			c.Stop(c.Self())
		}
	}
}

// resume makes the session a subscriber again of a console whose actor has failed.
func (s *session) resume(c *supervise.Context, m messages.ConsoleResume) {
	if s.source == nil {
		return // nothing is followed any more
	}
	c.Request(s.source, m)
	if s.credit {
		c.Request(s.source, s.more)
	}
	if s.leaves {
		c.Request(s.source, messages.ConsoleLeave{})
	}
}

// crashed continues after a failed request. If the console fails at it each time, the
// pauses between its restarts limit the tries.
func (s *session) crashed(c *supervise.Context, m supervise.Crashed) {
	if resume, ok := m.Message.(messages.ConsoleResume); ok {
		s.resume(c, resume)
		return
	}
	s.lost(c, hasFailed)
}

// sourceDetached is detached with a reason, which the client gets after what is being
// written. A client that does not read is cut off.
func (s *session) sourceDetached(c *supervise.Context, reason messages.Public) {
	if reason == "" || s.source == nil {
		s.detached(c)
		return
	}
	s.source, s.reason = nil, reason
	if s.state != following {
		return // the answer is being written
	}
	c.After(reasonTimeout, reasonTimedOut{})
	if s.credit { // no lines are being written
		s.sendReason(c)
	}
}

// sendReason sends the reason why nothing more follows. It is a failure, which differs from all
// that a unikernel can print.
func (s *session) sendReason(c *supervise.Context) {
	text := s.reason
	s.state, s.reason = ending, ""
	s.write(c, messages.Wire{Header: s.header, Payload: messages.Failure{Text: text}})
}

// detached ends what was followed. Even a subscription that has ended at once is
// answered.
func (s *session) detached(c *supervise.Context) {
	switch {
	case s.source == nil: // its end was handled
	case s.state == answering:
		s.source = nil // nothing is followed after the answer
	default:
		c.Stop(c.Self())
	}
}

package session

import (
	"fmt"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// partTimeout is how long a client that is not told any more lines may take to read
// those that it has been told, and why.
const partTimeout = 20 * time.Second

type partOver struct{}

// ends tells whether what the session passes on has an end, or is kept up to now: the
// lines of a console, events, and the contents of a block device.
func (s *session) ends() bool {
	switch s.more.(type) {
	case messages.ConsoleMore:
		return s.state == following && s.source != nil
	case messages.EventsMore, messages.BlockMore:
		return s.state == following
	}
	return false
}

// follow passes console lines on, in the form that the client has asked for.
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

// leave goes on until the client has what there is: it may have closed its side of the
// connection only. One that has closed both is found out by writing, or has nothing to
// wait for. (Statistics have no end, and none are kept: who follows them has left.)
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

// crashed goes on where a request has failed. What makes a console fail each time
// is tried at the pace at which that is started again.
func (s *session) crashed(c *supervise.Context, m supervise.Crashed) {
	if resume, ok := m.Message.(messages.ConsoleResume); ok {
		s.resume(c, resume)
		return
	}
	s.lost(c, hasFailed)
}

// dismissed is detached, and tells the client the reason, where there is one, behind
// what is being written. Whoever does not read is not waited for.
func (s *session) dismissed(c *supervise.Context, m messages.ConsoleDetached) {
	if m.Reason == "" || s.source == nil {
		s.detached(c)
		return
	}
	s.source, s.farewell = nil, m.Reason
	if s.state != following {
		return // the answer is being written
	}
	c.After(partTimeout, partOver{})
	if s.credit { // no lines are being written
		s.part(c)
	}
}

// part tells why nothing more is followed. It is a failure: whoever follows a
// console can tell that from all that the unikernel prints.
func (s *session) part(c *supervise.Context) {
	text := s.farewell
	s.state, s.farewell = parting, ""
	s.write(c, messages.Wire{Header: s.header, Payload: messages.Failure{Text: text}})
}

// detached ends what was followed. Even one that has ended at once is answered.
func (s *session) detached(c *supervise.Context) {
	switch {
	case s.source == nil: // its end has been told
	case s.state == answering:
		s.source = nil // nothing is followed when the answer is written
	default:
		c.Stop(c.Self())
	}
}

package session

import (
	"errors"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// tellPatience bounds the time of a native collector for one command.
const tellPatience = 30 * time.Second

// A tale holds the conversation with the native collector at the other end: one command
// after the other, each of which must be answered.
type tale struct {
	expected bool            // the command was that of a native collector
	header   messages.Header // of the last command, or of the first request
	written  bool
	answered bool
	inTime   func() // stops the timer of the answer
}

// tellOver is a message of the session's timer.
type tellOver struct{}

// tell sends a command to the native collector.
func (s *session) tell(c *supervise.Context, m messages.StatsTell) {
	switch s.state {
	case following:
		s.state = telling
		s.tale.header.Sequence++
		s.tale.header.Name = m.Name
		s.tale.written, s.tale.answered = false, false
		s.tale.inTime = c.After(tellPatience, tellOver{})
		s.write(c, messages.Wire{Header: s.tale.header, Payload: m.Command})
	default: // it is about to end
	}
}

// toldSo handles the answer of the native collector. A failure is one too: the collector
// knows why.
func (s *session) toldSo(c *supervise.Context, wire messages.Wire) {
	text := messages.Public("")
	switch p := wire.Payload.(type) {
	case messages.Success:
	case messages.Failure:
		text = p.Text
	default:
		hangUp(c, errors.New("a native collector says what is no answer"))
		return
	}
	if wire.Header.Sequence != s.tale.header.Sequence {
		hangUp(c, errors.New("a native collector answers what it was not told"))
		return
	}
	if text != "" {
		c.Log().Warn("A native collector refuses what it is told", "name", s.tale.header.Name, "answer", text)
	}
	s.tale.answered = true
	s.receive(c)
	s.tellOn(c)
}

// tellOn asks for the next command, when the one before was written and answered. The
// answer may be handled first.
func (s *session) tellOn(c *supervise.Context) {
	if s.tale.written && s.tale.answered {
		s.tale.inTime()
		s.state = following
		c.Request(s.source, s.more)
	}
}

func (s *session) tellOver(c *supervise.Context) {
	switch s.state {
	case telling:
		hangUp(c, errors.New("a native collector does not answer"))
	default: // it has just answered
	}
}

package session

import (
	"errors"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// collectorPatience bounds the time of a native collector for one command.
const collectorPatience = 30 * time.Second

// A nativeCollector holds the conversation with the native collector at the other end: one command
// after the other, each of which must be answered.
type nativeCollector struct {
	expected bool            // the command was that of a native collector
	header   messages.Header // of the last command, or of the first request
	written  bool
	answered bool
	inTime   func() // stops the timer of the answer
}

// collectorTimedOut is a message of the session's timer.
type collectorTimeout struct{}

// sendToCollector sends a command to the native collector.
func (s *session) sendToCollector(c *supervise.Context, m messages.CollectorCommand) {
	switch s.state {
	case following:
		s.state = commanding
		s.native.header.Sequence++
		s.native.header.Name = m.Name
		s.native.written, s.native.answered = false, false
		s.native.inTime = c.After(collectorPatience, collectorTimeout{})
		s.write(c, messages.Wire{Header: s.native.header, Payload: m.Command})
	default: // it is about to end
	}
}

// collectorAnswered handles the answer of the native collector. A failure is one too: the collector
// knows why.
func (s *session) collectorAnswered(c *supervise.Context, wire messages.Wire) {
	text := messages.Public("")
	switch p := wire.Payload.(type) {
	case messages.Success:
	case messages.Failure:
		text = p.Text
	default:
		hangUp(c, errors.New("a native collector says what is no answer"))
		return
	}
	if wire.Header.Sequence != s.native.header.Sequence {
		hangUp(c, errors.New("a native collector answers what it was not told"))
		return
	}
	if text != "" {
		c.Log().Warn("A native collector refuses what it is told", "name", s.native.header.Name, "answer", text)
	}
	s.native.answered = true
	s.receive(c)
	s.requestNext(c)
}

// requestNext asks for the next command, when the one before was written and answered. The
// answer may be handled first.
func (s *session) requestNext(c *supervise.Context) {
	if s.native.written && s.native.answered {
		s.native.inTime()
		s.state = following
		c.Request(s.source, s.more)
	}
}

func (s *session) collectorTimedOut(c *supervise.Context) {
	switch s.state {
	case commanding:
		hangUp(c, errors.New("a native collector does not answer"))
	default: // it has just answered
	}
}

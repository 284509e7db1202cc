package session

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
)

// A statsSession owns one client connection to the socket of statistics. Unlike in a
// session, commands may follow while statistics flow. An answer and one tick may wait for
// the write under way; the collector gets credit for the next tick when that was written.
type statsSession struct {
	client Client
	host   *actor.PID
	meter  *meter.Meter

	state     sessionState                       // reading, asking or answering
	asks      uint64                             // commands passed on; the ID of the last one
	request   meter.Request                      // the command, for the metrics
	header    messages.Header                    // of the current command
	last      bool                               // the connection ends with this answer
	follows   map[messages.Name]messages.Version // subscriptions, with the version of each
	wants     messages.Option[messages.Name]     // the name that the current command subscribes to
	collector *actor.PID

	writing bool
	answer  messages.Option[messages.Wire] // to be written
	tick    []messages.Wire                // to be written
	asked   bool                           // there is credit for the next tick
}

func (s *statsSession) Started(c *supervise.Context) {
	s.follows = map[messages.Name]messages.Version{}
	s.receive(c)
}

func (s *statsSession) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case received:
		s.received(c, m)
	case messages.Answer:
		s.answered(c, m)
	case supervise.Crashed:
		s.lost(c, hasFailed)
	case supervise.Undeliverable:
		s.lost(c, hasGone)
	case messages.StatsTaken:
		s.taken(c, m)
	case messages.Detached:
		s.detached(c, m.Reason)
	case written:
		s.written(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping ends the waits of the session's goroutines.
func (s *statsSession) Stopping(c *supervise.Context, _ bool) { closeClient(c, s.client) }

func (s *statsSession) receive(c *supervise.Context) {
	s.state = reading
	receiveFrom(c, s.client)
}

func (s *statsSession) received(c *supervise.Context, m received) {
	switch {
	case m.err != nil:
		hangUp(c, m.err)
		return
	case s.last: // it came too late
		return
	}
	s.header = m.wire.Header
	s.request = s.meter.Asked(string(messages.AtStats), m.wire.Payload, c.Now())
	s.asks++
	s.state = asking
	if refusal := refusal(messages.AtStats, m.wire.Payload); refusal != "" {
		s.last = true
		s.reply(c, messages.Failure{Text: refusal})
		return
	}
	s.wants = messages.Option[messages.Name]{}
	if _, ok := m.wire.Payload.(messages.StatsSubscribe); ok {
		s.wants = messages.Some(s.header.Name)
	}
	command := m.wire.Payload.(messages.Command) // a socket accepts nothing else
	c.Request(s.host, messages.Ask{ID: s.asks, Name: s.header.Name, Command: command, Peer: s.client.Peer()})
}

func (s *statsSession) answered(c *supervise.Context, m messages.Answer) {
	switch s.state {
	case asking:
		if m.ID != s.asks {
			return // of a command that was given up
		}
		if _, ok := m.Payload.(messages.Success); ok && s.wants.OK {
			s.collector = c.Sender()
			s.follows[s.wants.Value] = s.header.Version
		}
		s.reply(c, m.Payload)
	default: // of a command that was answered for lost
	}
}

// lost answers a command whose receiver has failed or has ended.
func (s *statsSession) lost(c *supervise.Context, text messages.Public) {
	switch s.state {
	case asking:
		s.last = true
		s.reply(c, messages.Failure{Text: text})
	default: // no more ticks follow
		s.detached(c, text)
	}
}

// detached ends the connection, since nothing is followed any more, after the answer to a
// command under way. Otherwise the client reads why.
func (s *statsSession) detached(c *supervise.Context, reason messages.Public) {
	s.last = true
	if s.state == reading {
		s.state, s.tick = answering, nil
		s.answer = messages.Some(messages.Wire{Header: s.header, Payload: messages.Failure{Text: reason}})
		s.advance(c)
	}
}

func (s *statsSession) reply(c *supervise.Context, payload messages.Payload) {
	s.state = answering
	s.request.Answered(payload, c.Now())
	s.answer = messages.Some(messages.Wire{Header: s.header, Payload: payload})
	s.advance(c)
}

// taken handles a tick, of which this client gets its subscriptions.
func (s *statsSession) taken(c *supervise.Context, m messages.StatsTaken) {
	s.asked = false
	for _, sample := range m.Samples {
		for name, version := range s.follows {
			if name.Covers(sample.Name) {
				header := messages.Header{Version: version, Name: relative(name, sample.Name)}
				s.tick = append(s.tick, messages.Wire{Header: header, Payload: sample.Stats})
			}
		}
	}
	s.advance(c)
}

// relative returns the name of a unikernel relative to the path of a subscription. A
// subscription to a unikernel has that of its path.
func relative(subscribed, name messages.Name) messages.Name {
	return messages.Name{Path: subscribed.Path}.Relative(name)
}

// advance writes what waits, the answer first. If nothing waits, it gives credit for the
// next tick.
func (s *statsSession) advance(c *supervise.Context) {
	switch {
	case s.writing:
	case s.answer.OK:
		answer := s.answer.Value
		s.answer = messages.Option[messages.Wire]{}
		s.write(c, answer)
	case s.state == answering: // it was written
		s.goOn(c)
	case len(s.tick) > 0:
		tick := s.tick
		s.tick = nil
		s.write(c, tick...)
	case len(s.follows) > 0 && !s.asked:
		s.asked = true
		c.Request(s.collector, messages.More{})
	}
}

// goOn reads the next command, unless the last one was answered.
func (s *statsSession) goOn(c *supervise.Context) {
	if s.last {
		c.Stop(c.Self())
		return
	}
	s.receive(c)
	s.advance(c)
}

func (s *statsSession) write(c *supervise.Context, list ...messages.Wire) {
	s.writing = true
	writeTo(c, s.client, list)
}

func (s *statsSession) written(c *supervise.Context, m written) {
	if m.err != nil {
		hangUp(c, m.err)
		return
	}
	s.writing = false
	s.advance(c)
}

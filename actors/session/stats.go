package session

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
)

// A statsSession owns one client connection to the socket of statistics. Other
// than with a session, commands may follow while statistics flow: an answer and
// one tick may wait for the write under way, and the collector is asked for the
// next tick when that has been written.
type statsSession struct {
	client Client
	host   *actor.PID
	meter  *meter.Meter

	state     sessionState                       // reading, asking or answering
	asks      uint64                             // commands ever passed on; the ID of the last one
	request   meter.Request                      // the command, as it is counted
	header    messages.Header                    // of the command that is being answered
	last      bool                               // the connection ends with this answer
	follows   map[messages.Name]messages.Version // what has been subscribed to, and in which version
	wants     messages.Option[messages.Name]     // is subscribed to by the command under way
	collector *actor.PID

	writing bool
	answer  messages.Option[messages.Wire] // to be written
	tick    []messages.Wire                // to be written
	asked   bool                           // for the next tick
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
	case messages.StatsDetached:
		s.detached(c)
	case written:
		s.written(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping ends what the goroutines of the session wait for.
func (s *statsSession) Stopping(c *supervise.Context, _ bool) { closeClient(c, s.client) }

func (s *statsSession) receive(c *supervise.Context) {
	s.state = reading
	receiveFrom(c, s.client)
}

func (s *statsSession) received(c *supervise.Context, m received) {
	if m.err != nil {
		hangUp(c, m.err)
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
	command := m.wire.Payload.(messages.Command) // nothing else is known to a socket
	c.Request(s.host, messages.Ask{ID: s.asks, Name: s.header.Name, Command: command, Peer: s.client.Peer()})
}

func (s *statsSession) answered(c *supervise.Context, m messages.Answer) {
	switch s.state {
	case asking:
		if m.ID != s.asks {
			return // of a command that has been given up
		}
		if _, ok := m.Payload.(messages.Success); ok && s.wants.OK {
			s.collector = c.Sender()
			s.follows[s.wants.Value] = s.header.Version
		}
		s.reply(c, m.Payload)
	default: // the answer to a command that was answered for lost
	}
}

// lost answers a command in place of whom it was given to.
func (s *statsSession) lost(c *supervise.Context, text messages.Public) {
	switch s.state {
	case asking:
		s.last = true
		s.reply(c, messages.Failure{Text: text})
	case reading: // there will be no more ticks
		c.Stop(c.Self())
	default:
		s.last = true
	}
}

// detached ends the connection: nothing is followed any more. Even a command that
// came just then is answered.
func (s *statsSession) detached(c *supervise.Context) {
	switch s.state {
	case reading:
		c.Stop(c.Self())
	default:
		s.last = true
	}
}

func (s *statsSession) reply(c *supervise.Context, payload messages.Payload) {
	s.state = answering
	s.request.Answered(payload, c.Now())
	s.answer = messages.Some(messages.Wire{Header: s.header, Payload: payload})
	s.advance(c)
}

// taken is a tick, of which this client gets what it has subscribed to.
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

// relative is a unikernel as seen from the path of a subscription. That to a
// unikernel is one at its path.
func relative(subscribed, name messages.Name) messages.Name {
	return messages.Name{Path: subscribed.Path}.Relative(name)
}

// advance writes what waits for that, the answer first, and where nothing does
// asks for the next tick.
func (s *statsSession) advance(c *supervise.Context) {
	switch {
	case s.writing:
	case s.answer.OK:
		answer := s.answer.Value
		s.answer = messages.Option[messages.Wire]{}
		s.write(c, answer)
	case s.state == answering: // it has been written
		s.goOn(c)
	case len(s.tick) > 0:
		tick := s.tick
		s.tick = nil
		s.write(c, tick...)
	case len(s.follows) > 0 && !s.asked:
		s.asked = true
		c.Request(s.collector, messages.StatsMore{})
	}
}

// goOn reads the next command, unless the last one has been answered.
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

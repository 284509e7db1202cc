// Package session owns one client connection each: it passes commands on to the host,
// and answers and streams to the client, no faster than that reads them.
package session

import (
	"io"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
)

// A Client is the connection to a client, as in package gateway. All methods may be
// called concurrently; Close ends the others.
type Client interface {
	// Read waits for the next command. It returns io.EOF if the client has left.
	Read() (messages.Wire, error)
	// ReadStream waits for the next part of the raw stream that follows some commands,
	// and reads as much as fits into b. It returns io.EOF at its end.
	ReadStream(b []byte) (int, error)
	// Write waits until all messages have been sent, and keeps nothing of them.
	Write([]messages.Wire) error
	// Peer returns the process at the other end.
	Peer() messages.Peer
	// Memory is the connection's, for answers.
	messages.Memory
	Close() error
}

// A session owns one client connection. It has one command under way at a time,
// and one write: a client that does not read slows down itself only. It is a shell
// around the conversation that the command begins.
type session struct {
	endpoint messages.Endpoint
	client   Client
	host     *actor.PID
	events   *actor.PID
	meter    *meter.Meter

	state        sessionState
	asks         uint64          // commands ever passed on; the ID of the last one
	asked        meter.Request   // the last one
	header       messages.Header // of it
	changes      string          // what it changes something by; empty: it changes nothing
	keep         bool            // another command may follow it
	patient      bool            // even if it is refused
	conversation conversation    // that it begins
	follows      subscription    // of the conversation
	leaves       bool            // the client says nothing more, and wants no more than what there is
	reason       messages.Public // why it follows nothing any more; empty: the client needs none
}

// New returns the session of a client at one of the daemon's sockets.
func New(endpoint messages.Endpoint, client Client, host, events *actor.PID, meter *meter.Meter) supervise.Actor {
	if endpoint == messages.AtStats {
		return &statsSession{client: client, host: host, meter: meter}
	}
	return &session{endpoint: endpoint, client: client, host: host, events: events, meter: meter}
}

type sessionState string

const (
	reading   sessionState = "reading"   // waits for a command
	asking    sessionState = "asking"    // waits for the answer to it
	answering sessionState = "answering" // writes the answer
	following sessionState = "following" // passes on what it follows
	draining  sessionState = "draining"  // has answered while the client still streams
	ending    sessionState = "ending"    // writes why it follows nothing any more
)

// The messages of the session's own goroutines, and one of itself.
type (
	received struct {
		wire messages.Wire
		err  error
	}
	written     struct{ err error }
	sourceEnded struct{} // the source, which may have said why before
)

func (s *session) Started(c *supervise.Context) {
	s.state, s.conversation = reading, answer{}
	s.receive(c)
}

func (s *session) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case received:
		s.received(c, m)
	case messages.Answer:
		s.answered(c, m)
	case supervise.Crashed:
		s.crashed(c, m)
	case supervise.Undeliverable:
		s.lost(c, hasGone)
	case written:
		s.written(c, m)
	case messages.Detached:
		s.dismissed(c, m.Reason)
	case supervise.Terminated: // it overtakes the last message of the source: handled after that
		c.Send(c.Self(), sourceEnded{})
	case sourceEnded:
		s.detached(c)
	case reasonTimedOut:
		c.Stop(c.Self())
	default:
		s.conversation.handle(c, s, message)
	}
}

// Stopping ends what the goroutines of the session wait for.
func (s *session) Stopping(c *supervise.Context, _ bool) { closeClient(c, s.client) }

func (s *session) receive(c *supervise.Context) { receiveFrom(c, s.client) }

func (s *session) received(c *supervise.Context, m received) {
	switch {
	case m.err == io.EOF:
		s.conversation.left(c, s)
	case m.err != nil:
		hangUp(c, m.err)
	case s.state == reading:
		s.ask(c, m.wire)
	default:
		s.conversation.said(c, s, m.wire)
	}
}

// ask passes a command on to the host.
func (s *session) ask(c *supervise.Context, wire messages.Wire) {
	s.header = wire.Header
	s.asked = s.meter.Asked(string(s.endpoint), wire.Payload, c.Now())
	s.changes = messages.Verb(wire.Payload)
	s.asks++
	s.state = asking
	is, _ := messages.PropertiesOf(wire.Payload)
	s.keep, s.patient = is.Keeps != messages.Never, is.Keeps == messages.Always
	s.conversation = conversationOf(wire.Payload, is)
	if refusal := refusal(s.endpoint, wire.Payload); refusal != "" {
		s.patient = false
		s.answered(c, messages.Answer{ID: s.asks, Payload: messages.Failure{Text: refusal}})
		return
	}
	if subscribe, ok := wire.Payload.(messages.EventsSubscribe); ok {
		c.Request(s.events, messages.EventsAttach{ID: s.asks, Name: s.header.Name, Since: subscribe.Since})
		return
	}
	command := wire.Payload.(messages.Command) // a socket knows nothing else
	c.Request(s.host, messages.Ask{ID: s.asks, Name: s.header.Name, Command: command, Peer: s.client.Peer(), For: wire.For, Memory: s.client})
}

func (s *session) answered(c *supervise.Context, m messages.Answer) {
	switch s.state {
	case asking:
		if m.ID != s.asks {
			return // of a command that has been given up
		}
		s.state = answering
		s.asked.Answered(m.Payload, c.Now())
		s.logChange(c, m.Payload)
		if _, done := m.Payload.(messages.Success); done {
			s.conversation.begin(c, s)
		} else { // natively, most commands that were refused are the last ones
			s.keep = s.patient
		}
		s.write(c, messages.Wire{Header: s.header, Payload: m.Payload})
	default: // the answer to a command that was answered for lost
	}
}

// lost answers a command in place of whom it was given to.
func (s *session) lost(c *supervise.Context, text messages.Public) {
	switch s.state {
	case asking:
		s.answered(c, messages.Answer{ID: s.asks, Payload: messages.Failure{Text: text}})
	default: // what is not there any more is not needed any more
	}
}

// crashed goes on where a request has failed. What makes a console fail each time
// is tried at the pace at which that is started again.
func (s *session) crashed(c *supervise.Context, m supervise.Crashed) {
	if resume, ok := m.Message.(messages.ConsoleResume); ok {
		s.conversation.handle(c, s, messages.ConsoleLost(resume))
		return
	}
	s.lost(c, hasFailed)
}

func (s *session) write(c *supervise.Context, list ...messages.Wire) { writeTo(c, s.client, list) }

func (s *session) written(c *supervise.Context, m written) {
	if m.err != nil {
		hangUp(c, m.err)
		return
	}
	s.conversation.written(c, s)
}

// finish goes on when the conversation is over.
func (s *session) finish(c *supervise.Context) {
	switch {
	case s.reason != "":
		s.sendReason(c)
	case s.keep:
		s.state, s.conversation = reading, answer{}
		s.receive(c)
	default:
		c.Stop(c.Self())
	}
}

// Package session owns one client connection each. It passes commands on to the host, and
// answers and streams to the client, no faster than the client reads.
package session

import (
	"errors"
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
	Close() error
}

// A session owns one client connection. One command is under way at a time, and one
// write: a client that does not read slows down itself only.
type session struct {
	endpoint messages.Endpoint
	client   Client
	host     *actor.PID
	events   *actor.PID
	meter    *meter.Meter

	state         sessionState
	asks          uint64          // commands passed on; the ID of the last one
	asked         meter.Request   // the last one
	changes       string          // name of the last one, if it changes something
	header        messages.Header // of the current command
	subscribes    bool            // the command is a ConsoleSubscribe
	old           bool            // its lines use the old form
	keep          bool            // another command may follow
	keepIfRefused bool            // even if this one is refused
	leaves        bool            // the client has closed its side, and wants what there is
	present       bool            // all events from before the request were sent
	credit        bool            // a request for more is unanswered
	source        *actor.PID      // the followed console, block device, collector or events actor
	more          any             // the message that gives it credit
	reason        messages.Public // the reason to send why nothing more follows; empty: none
	upload        upload          // the stream that follows the command
	native        nativeCollector // the conversation with a native collector
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
	reading    sessionState = "reading"   // waits for a command
	asking     sessionState = "asking"    // waits for the answer to it
	answering  sessionState = "answering" // writes the answer
	following  sessionState = "following" // passes on lines of a console, contents of a block device, or events
	commanding sessionState = "telling"   // has sent a native collector a command, and waits for its answer
	draining   sessionState = "draining"  // has answered while the client still streams
	ending     sessionState = "parting"   // sends the reason why nothing more follows
)

// The messages of the session's own goroutines, and of its own.
type (
	received struct {
		wire messages.Wire
		err  error
	}
	written     struct{ err error }
	sourceEnded struct{} // the source, which may have said why before
)

func (s *session) Started(c *supervise.Context) {
	s.state = reading
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
	case messages.ConsoleLines:
		s.follow(c, m)
	case messages.ConsoleLost:
		s.resume(c, messages.ConsoleResume(m))
	case messages.EventBatch:
		s.followEvents(c, m)
	case messages.ConsoleDetached:
		s.sourceDetached(c, m.Reason)
	case messages.EventsDetached:
		s.sourceDetached(c, m.Reason)
	case supervise.Terminated: // it overtakes the last message of the source: handled after that
		c.Send(c.Self(), sourceEnded{})
	case messages.StatsDetached, sourceEnded:
		s.detached(c)
	case messages.CollectorCommand:
		s.sendToCollector(c, m)
	case collectorTimeout:
		s.collectorTimedOut(c)
	case messages.BlockChunk:
		s.followBlock(c, m)
	case messages.BlockMore:
		s.moreAsked(c)
	case streamed:
		s.streamed(c, m)
	case drainOver, reasonTimedOut:
		c.Stop(c.Self())
	default:
		c.Unknown(message)
	}
}

// Stopping ends the waits of the session's goroutines.
func (s *session) Stopping(c *supervise.Context, _ bool) { closeClient(c, s.client) }

func (s *session) receive(c *supervise.Context) { receiveFrom(c, s.client) }

func (s *session) received(c *supervise.Context, m received) {
	switch {
	case m.err == io.EOF && s.ends():
		s.leave(c)
	case m.err != nil:
		if !errors.Is(m.err, io.EOF) {
			c.Log().Info("Closing connection", "cause", m.err)
		}
		c.Stop(c.Self())
	case s.state == reading:
		s.ask(c, m.wire)
	case s.state == commanding:
		s.collectorAnswered(c, m.wire)
	default: // a command while another one is followed: natively, the end too
		c.Stop(c.Self())
	}
}

// ask passes a command on to the host.
func (s *session) ask(c *supervise.Context, wire messages.Wire) {
	s.header = wire.Header
	s.asked = s.meter.Asked(string(s.endpoint), wire.Payload, c.Now())
	s.changes = messages.Verb(wire.Payload)
	s.asks++
	s.state = asking
	conduct, _ := messages.PropertiesOf(wire.Payload)
	s.keep, s.keepIfRefused = conduct.Keeps != messages.Never, conduct.Keeps == messages.Always
	s.upload = upload{expected: conduct.Sends == messages.Contents}
	s.native = nativeCollector{expected: conduct.Answers == messages.Commands, header: wire.Header}
	if refusal := refusal(s.endpoint, wire.Payload); refusal != "" {
		s.keepIfRefused = false
		s.answered(c, messages.Answer{ID: s.asks, Payload: messages.Failure{Text: refusal}})
		return
	}
	command := wire.Payload.(messages.Command) // a socket accepts nothing else
	subscribe, subscribes := command.(messages.ConsoleSubscribe)
	s.subscribes, s.old = subscribes, subscribe.Old
	if subscribe, ok := command.(messages.EventsSubscribe); ok {
		c.Request(s.events, messages.EventsAttach{ID: s.asks, Name: s.header.Name, Since: subscribe.Since})
		return
	}
	c.Request(s.host, messages.Ask{ID: s.asks, Name: s.header.Name, Command: command, Peer: s.client.Peer()})
}

func (s *session) answered(c *supervise.Context, m messages.Answer) {
	switch s.state {
	case asking:
		if m.ID != s.asks {
			return // of a command that was given up
		}
		s.state = answering
		s.asked.Answered(m.Payload, c.Now())
		s.logChange(c, m.Payload)
		switch m.Payload.(type) {
		case messages.SuccessEvents:
			s.source, s.more = c.Sender(), messages.EventsMore{}
			c.Watch(s.source)
		case messages.SuccessDump: // it announces its end; Terminated would overtake its last part
			s.source, s.more = c.Sender(), messages.BlockMore{}
		case messages.Success:
			switch {
			case s.subscribes:
				s.source, s.more = c.Sender(), messages.ConsoleMore{}
				c.Watch(s.source)
			case s.native.expected:
				s.source, s.more = c.Sender(), messages.CollectorReady{}
			}
		default: // natively, most refused commands are the last ones
			s.keep = s.keepIfRefused
		}
		s.write(c, messages.Wire{Header: s.header, Payload: m.Payload})
	default: // of a command that was answered for lost
	}
}

// lost answers a command whose receiver has failed or has ended.
func (s *session) lost(c *supervise.Context, text messages.Public) {
	switch s.state {
	case asking:
		s.answered(c, messages.Answer{ID: s.asks, Payload: messages.Failure{Text: text}})
	default: // what has ended is not needed any more
	}
}

func (s *session) write(c *supervise.Context, list ...messages.Wire) { writeTo(c, s.client, list) }

func (s *session) written(c *supervise.Context, m written) {
	switch {
	case m.err != nil:
		hangUp(c, m.err)
	case s.state == commanding:
		s.native.written = true
		s.requestNext(c)
	case s.leaves && s.present:
		c.Stop(c.Self())
	case s.state == following && s.source != nil:
		s.askMore(c)
	case s.source != nil:
		s.state = following
		s.receive(c) // no command is expected: the read ends when the client leaves
		s.askMore(c)
	case s.reason != "":
		s.sendReason(c)
	case s.keep:
		s.state = reading
		s.receive(c)
	case s.upload.expected && s.state == answering:
		s.drain(c)
	default:
		c.Stop(c.Self())
	}
}

// askMore gives the source credit for one more message.
func (s *session) askMore(c *supervise.Context) {
	s.credit = true
	c.Request(s.source, s.more)
}

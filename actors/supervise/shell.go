package supervise

import (
	"fmt"
	"runtime/debug"

	"github.com/asynkron/protoactor-go/actor"
)

// An Actor is one incarnation of an actor. Its methods are never called at the same time,
// and must not block: slow work goes through Context.Go.
type Actor interface {
	// Started is called before any message. It takes up again what survives a failure.
	Started(c *Context)
	// Handle is called for each message. It passes unknown ones to Context.Unknown.
	Handle(c *Context, message any)
	// Stopping is the last call: the incarnation frees what it owns. With again, a new
	// one follows.
	Stopping(c *Context, again bool)
}

// Messages that the system sends to actors.
type (
	// Crashed answers a request whose handler has failed.
	Crashed struct{ Message any }
	// Undeliverable answers a request to an actor that has ended, or whose mailbox is full.
	Undeliverable struct{ Message any }
	// Terminated says that a watched actor, or a child, has ended.
	Terminated struct{ ID string }
)

// A failure is a recovered panic with its stack, which protoactor drops.
type failure struct {
	reason  any
	message string // the type of the message being handled
	stack   []byte
}

func (f *failure) Error() string { return fmt.Sprint(f.reason) }

// A shell is the protoactor side of one incarnation.
type shell struct {
	inner   Actor
	c       Context
	stopped *bool  // shared by all incarnations: somebody has stopped the actor
	ended   func() // called when the last incarnation has ended
}

func newShell(s *System, inner Actor, work, former *work, stopped *bool, ended func()) *shell {
	return &shell{inner: inner, stopped: stopped, ended: ended, c: Context{system: s, incarnation: s.serial.Add(1), work: work, former: former}}
}

// Receive implements actor.Actor.
func (s *shell) Receive(ac actor.Context) {
	s.c.inner = ac
	switch message := ac.Message().(type) {
	case *actor.Started:
		s.started(message)
	case *actor.Restarting:
		s.end(true)
	case *actor.Stopping:
		s.end(false)
	case *actor.Stopped:
		s.ended()
	case delivery:
		if inner, ok := s.c.take(message); ok {
			s.handle(inner)
		}
	case *actor.DeadLetterResponse: // Undeliverable comes, too, and says to what
	default:
		s.handle(translate(message))
	}
}

// started begins an incarnation. Protoactor restarts an actor that is being stopped if it has
// failed shortly before: such an incarnation does nothing, and ends.
func (s *shell) started(message *actor.Started) {
	if *s.stopped {
		s.c.over = true
		s.c.Stop(s.c.Self())
		return
	}
	s.c.begin()
	s.call(message, nil, func() { s.inner.Started(&s.c) })
}

// translate returns our message for one of protoactor.
func translate(message any) any {
	switch m := message.(type) {
	case *actor.Terminated:
		return Terminated{ID: m.Who.Id}
	}
	return message
}

// sees returns the message that the actor will handle for one of protoactor, if any.
func (s *shell) sees(message any) (any, bool) {
	switch m := message.(type) {
	case *actor.Started, *actor.DeadLetterResponse, actor.AutoReceiveMessage:
		return nil, false
	case delivery:
		result, ok := s.c.peek(m)
		_, failed := result.(taskPanic)
		return result, ok && !failed
	}
	return translate(message), !s.c.over
}

// handle passes a message on, unless the incarnation has ended: until its children have
// stopped, more may come.
func (s *shell) handle(message any) {
	if s.c.over {
		s.c.respond(s.c.Sender(), Undeliverable{Message: message})
		return
	}
	if p, ok := message.(taskPanic); ok {
		panic(p.failure)
	}
	s.call(message, s.c.Sender(), func() { s.inner.Handle(&s.c, message) })
}

// call runs f. After a panic it sends Crashed to asker, unless that is nil, and panics
// again, for the strategy of the parent. It discards a result: that may have been taken
// over already, so a second Discard must do no harm.
func (s *shell) call(message any, asker *actor.PID, f func()) {
	defer func() {
		if reason := recover(); reason != nil {
			s.c.system.bugs.Add(1)
			discard(message)
			s.c.respond(asker, Crashed{Message: message})
			panic(asFailure(reason, message))
		}
	}()
	f()
}

// end ends an incarnation. It recovers a panic: protoactor would leave the actor half
// stopped for ever.
func (s *shell) end(again bool) {
	*s.stopped = *s.stopped || !again
	if s.c.over {
		return
	}
	defer func() {
		if reason := recover(); reason != nil {
			s.c.system.bugs.Add(1)
			s.c.system.failed(s.c.Self(), asFailure(reason, "stopping"))
		}
	}()
	s.c.over = true
	defer s.c.finish()
	s.inner.Stopping(&s.c, again)
}

func asFailure(reason, message any) *failure {
	if f, ok := reason.(*failure); ok {
		return f
	}
	return &failure{reason: reason, message: fmt.Sprintf("%T", message), stack: debug.Stack()}
}

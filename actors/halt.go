package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A halter has the host stop all unikernels, and ends when they have.
type halter struct{ host *actor.PID }

// What the halter's timers tell it.
type haltAgain struct{}

func (s *halter) Started(c *supervise.Context) { c.Request(s.host, messages.HaltAll{}) }

func (s *halter) Handle(c *supervise.Context, message any) {
	switch message.(type) {
	case messages.AllHalted:
		c.Stop(c.Self())
	case supervise.Crashed, supervise.Undeliverable:
		c.After(supervise.RetryAfter, haltAgain{})
	case haltAgain:
		c.Request(s.host, messages.HaltAll{})
	default:
		c.Unknown(message)
	}
}

func (s *halter) Stopping(*supervise.Context, bool) {}

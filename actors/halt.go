package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A halter asks the host to stop all unikernels, and ends when they have stopped.
type halter struct{ host *actor.PID }

// haltAgain is a message of the halter's timer.
type haltAgain struct{}

func (h *halter) Started(c *supervise.Context) { c.Request(h.host, messages.HaltAll{}) }

func (h *halter) Handle(c *supervise.Context, message any) {
	switch message.(type) {
	case messages.AllHalted:
		c.Stop(c.Self())
	case supervise.Crashed, supervise.Undeliverable:
		c.After(supervise.RetryAfter, haltAgain{})
	case haltAgain:
		c.Request(h.host, messages.HaltAll{})
	default:
		c.Unknown(message)
	}
}

func (h *halter) Stopping(*supervise.Context, bool) {}

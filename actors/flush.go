package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A flusher ends when everything is on disk that was sent to the store before.
type flusher struct{ store *actor.PID }

func (f *flusher) Started(c *supervise.Context) { c.Request(f.store, messages.StoreWrite{}) }

func (f *flusher) Handle(c *supervise.Context, message any) {
	switch message.(type) {
	case messages.StoreWritten, supervise.Crashed, supervise.Undeliverable: // a store that fails has logged it
		c.Stop(c.Self())
	default:
		c.Unknown(message)
	}
}

func (f *flusher) Stopping(*supervise.Context, bool) {}

package supervise

import (
	"github.com/asynkron/protoactor-go/actor"

	"albatross/messages"
)

// An Asker waits for the answer to the request with this ID.
type Asker struct {
	PID *actor.PID
	ID  uint64
}

// Answer sends it.
func (a Asker) Answer(c *Context, payload messages.Payload) {
	c.Send(a.PID, messages.Answer{ID: a.ID, Payload: payload})
}

// Public returns what a client may read of an error, and logs the error if that is not
// all.
func (c *Context) Public(err error) messages.Public {
	text := messages.PublicError(err)
	if err != nil && string(text) != err.Error() {
		c.Log().Warn("An error that clients are not told in full", "error", err)
	}
	return text
}

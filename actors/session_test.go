package actors_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/messages"
)

// A slowClient tells when it is written to, before that has an effect.
type slowClient struct {
	*client
	writing chan struct{}
}

func (c *slowClient) Write(list []messages.Wire) error {
	c.writing <- struct{}{}
	return c.client.Write(list)
}

// TestDetachedBeforeAnswer: a subscription that another one ends while it is
// still being answered is answered all the same.
func TestDetachedBeforeAnswer(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.MaxSubscribers = 1 })
	for range 20 {
		first := &slowClient{w.newClient(), make(chan struct{}, 1)}
		w.serve(actors.Console, first)
		first.send(":x", messages.ConsoleSubscribe{Count: messages.Some(0)})
		<-first.writing
		second := w.follow(":x", 0)
		require.IsType(t, messages.SuccessText{}, first.receive().Payload)
		<-first.closed
		require.NoError(t, second.Close())
	}
}

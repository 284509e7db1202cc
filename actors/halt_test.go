package actors_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/netns"
)

// TestHalt: all unikernels are stopped, whatever is under way, and the next daemon starts all of
// them.
func TestHalt(t *testing.T) {
	w := newWorld(t, withBridge)
	w.succeeds("created unikernel", ":quits", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", ":net", create(echo()))
	crashing := guest("exit", "3")
	crashing.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":crashes", create(crashing))

	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	require.NoError(t, w.actors.Halt(ctx))
	w.fails("the daemon is stopping all unikernels: try again when it runs again", ":x", create(guest("hello")))
	require.Empty(t, netns.Ports(t, bridge))
	for _, name := range []string{":quits", ":net", ":crashes"} {
		r, there := w.record(name)
		require.True(t, there)
		require.False(t, r.Runtime.OK)
	}
	require.True(t, w.empty("fifo"))

	w.restart()
	w.until("they run again", func() bool { return len(w.infos(":quits")) == 1 && len(w.infos(":net")) == 1 })
	require.NotEmpty(t, netns.Ports(t, bridge))
}

// TestHaltOfNothing ends at once.
func TestHaltOfNothing(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	require.NoError(t, w.actors.Halt(ctx))
	w.restart() // after the halt, a daemon answers nothing more
}

// TestHaltInTheMiddleOfACommand: a create that is under way succeeds, or is refused, and its
// unikernel is stopped.
func TestHaltInTheMiddleOfACommand(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	var clients []*client
	for range 5 {
		c := w.newClient()
		w.serve("vmmd", c)
		c.send(":x", force(guest("hello", "--quiet", "another")))
		clients = append(clients, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	require.NoError(t, w.actors.Halt(ctx))
	for _, c := range clients {
		require.Contains(t, []messages.Payload{
			success("created unikernel"), fails("the daemon is stopping all unikernels: try again when it runs again"),
		}, c.receive().Payload)
	}
	r, there := w.record(":x")
	require.True(t, there)
	require.False(t, r.Runtime.OK)
	w.restart()
	w.until("it runs again", func() bool { return len(w.infos(":x")) == 1 })
}

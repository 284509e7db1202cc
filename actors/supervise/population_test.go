package supervise_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
)

// TestPopulation: actors are counted while they live. Failures are counted for ever. The names of
// children do not make kinds of their own.
func TestPopulation(t *testing.T) {
	s := newSystem(t)
	require.Empty(t, s.Population())
	gate, entered := make(chan struct{}), make(chan *actor.PID, 10)
	var child *actor.PID
	parent := spawn(t, s, &scripted{handle: func(c *supervise.Context, message any) {
		switch message {
		case "child":
			child = c.Child("child/a:b:c", func() supervise.Actor {
				return &scripted{handle: func(_ *supervise.Context, message any) {
					if message == "panic" {
						panic("as asked")
					}
				}}
			})
			entered <- child
		case "panic a child":
			c.Send(child, "panic")
		case "wait":
			entered <- nil
			<-gate
		}
	}})
	parent.Send("child")
	parent.Send("child")
	receive(t, entered)
	receive(t, entered)
	parent.Send("wait")
	receive(t, entered)
	parent.Send("one")
	parent.Send("two")
	require.Equal(t, map[string]supervise.Count{
		"test": {Actors: 1, Queued: 2}, "child": {Actors: 2},
	}, s.Population())
	parent.Send("panic a child")
	close(gate)
	counts := func(want map[string]supervise.Count) func() bool {
		return func() bool { return maps.Equal(want, s.Population()) }
	}
	require.Eventually(t, counts(map[string]supervise.Count{
		"test": {Actors: 1}, "child": {Actors: 2, Failures: 1},
	}), deadline, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	require.NoError(t, parent.Stop(ctx))
	require.Equal(t, map[string]supervise.Count{"child": {Failures: 1}}, s.Population())
}

// TestEveryFailureIsCounted: of actors that are not restarted, of goroutines, and of actors that
// end.
func TestEveryFailureIsCounted(t *testing.T) {
	s := newSystem(t)
	for _, behaviour := range []scripted{
		{started: func(*supervise.Context) { panic("starting") }},
		{handle: func(*supervise.Context, any) { panic("handling") }},
		{started: func(c *supervise.Context) { c.Go(func(context.Context) any { panic("aside") }) }},
		{handle: func(c *supervise.Context, _ any) { c.Stop(c.Self()) }, stopping: func(*supervise.Context, bool) { panic("stopping") }},
	} {
		before := s.Population()["weak"].Failures
		ref, err := s.Spawn("weak", func() supervise.Actor { return &behaviour }, supervise.Stop)
		require.NoError(t, err)
		ref.Send("hello")
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		require.NoError(t, ref.Wait(ctx))
		cancel()
		require.Equal(t, supervise.Count{Failures: before + 1}, s.Population()["weak"])
	}
}

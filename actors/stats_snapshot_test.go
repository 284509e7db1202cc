package actors_test

import (
	"os"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/actors/supervise"
	"albatross/messages"
)

// A snapshooter asks for fresh samples, as the endpoint for metrics does.
type snapshooter struct {
	host *actor.PID
	got  chan messages.StatsSnapshotTaken
}

func (s *snapshooter) Started(c *supervise.Context) {
	c.Request(s.host, messages.StatsSnapshot{ID: 7})
}

func (s *snapshooter) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.StatsSnapshotTaken:
		s.got <- m
	default: // it was lost on the way
		s.got <- messages.StatsSnapshotTaken{ID: 7, Err: "lost"}
	}
	c.Stop(c.Self())
}

func (s *snapshooter) Stopping(*supervise.Context, bool) {}

// snapshot are fresh samples, or why there are none.
func (w *world) snapshot() messages.StatsSnapshotTaken {
	w.t.Helper()
	s := &snapshooter{host: actors.Host(w.actors), got: make(chan messages.StatsSnapshotTaken, 1)}
	_, err := w.system.Spawn("snapshooter", func() supervise.Actor { return s }, supervise.Stop)
	require.NoError(w.t, err)
	select {
	case m := <-s.got:
		require.Equal(w.t, uint64(7), m.ID)
		return m
	case <-time.After(deadline):
		require.FailNow(w.t, "no answer")
	}
	panic("unreachable")
}

func TestASnapshotIsFresh(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.StatsInterval = time.Hour })
	require.Empty(t, w.snapshot().Samples)
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	c := w.connect(actors.Stats)
	c.tells("added", ":me", messages.StatsAdd{PID: os.Getpid()})
	taken := w.snapshot()
	require.Empty(t, taken.Err)
	byName := map[string]messages.Sample{}
	for _, s := range taken.Samples {
		byName[s.Name.String()] = s
	}
	require.ElementsMatch(t, []string{"a:x", ":me"}, keys(byName))
	require.WithinDuration(t, time.Now(), byName["a:x"].Started, deadline)
	require.Positive(t, byName[":me"].Stats.KinfoMem.Value.RSS)
	before, after := byName[":me"].Stats.Rusage.MinFlt, int64(0)
	page := make([]byte, 64<<20)
	for i := 0; i < len(page); i += os.Getpagesize() {
		page[i] = 1
	}
	for _, s := range w.snapshot().Samples {
		if s.Name.Label == "me" {
			after = s.Stats.Rusage.MinFlt
		}
	}
	require.Greater(t, after, before)
	w.succeeds("destroyed unikernel", "a:x", messages.UnikernelDestroy{})
	require.Len(t, w.snapshot().Samples, 1)
}

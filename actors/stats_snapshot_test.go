package actors_test

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors"
	"albatross/actors/supervise"
	"albatross/messages"
)

// A snapshooter asks for fresh samples, as the endpoint for metrics does.
type snapshooter struct {
	t     *testing.T
	host  *actor.PID
	asked atomic.Bool
	got   chan messages.StatsSnapshotTaken
}

func (s *snapshooter) Started(c *supervise.Context) {
	c.Request(s.host, messages.StatsSnapshot{ID: 7})
	s.asked.Store(true)
}

func (s *snapshooter) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.StatsSnapshotTaken:
		s.got <- m
	default: // the request was lost on the way
		s.got <- messages.StatsSnapshotTaken{ID: 7, Err: "lost"}
	}
	c.Stop(c.Self())
}

func (s *snapshooter) Stopping(*supervise.Context, bool) {}

// snapshot returns fresh samples, or the reason why there are none.
func (w *world) snapshot() messages.StatsSnapshotTaken {
	w.t.Helper()
	return w.askSnapshot().taken()
}

func (w *world) askSnapshot() *snapshooter {
	w.t.Helper()
	s := &snapshooter{t: w.t, host: actors.Host(w.actors), got: make(chan messages.StatsSnapshotTaken, 1)}
	_, err := w.system.Spawn("snapshooter", func() supervise.Actor { return s }, supervise.Stop)
	require.NoError(w.t, err)
	return s
}

func (s *snapshooter) taken() messages.StatsSnapshotTaken {
	s.t.Helper()
	select {
	case m := <-s.got:
		require.Equal(s.t, uint64(7), m.ID)
		return m
	case <-time.After(deadline):
		require.FailNow(s.t, "no answer")
	}
	panic("unreachable")
}

func TestASnapshotIsFresh(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.StatsInterval = time.Hour })
	require.Empty(t, w.snapshot().Samples)
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	c := w.connect(messages.AtStats)
	c.succeeds("added", ":me", messages.StatsAdd{PID: os.Getpid()})
	taken := w.snapshot()
	require.Empty(t, taken.Err)
	byName := map[string]messages.Sample{}
	for _, s := range taken.Samples {
		byName[s.Name.String()] = s
	}
	require.ElementsMatch(t, []string{"a:x", ":me"}, keys(byName))
	require.WithinDuration(t, time.Now(), byName["a:x"].Started, deadline)
	require.Positive(t, byName[":me"].Stats.KinfoMem.Value.RSS)
	w.succeeds("destroyed unikernel", "a:x", messages.UnikernelDestroy{})
	require.Len(t, w.snapshot().Samples, 1)
}

// A snapshot that is asked for while a pass is under way needs a pass of its own.
func TestASnapshotDuringAPass(t *testing.T) {
	both := make(chan struct{}) // closed when both wait for the collector
	handled := 0                // how many the collector has handled
	faults := int64(0)          // of this process, when the second is handled
	w := newWorld(t, func(w *world) {
		w.fault = func(actor string, message any) {
			if _, ok := message.(messages.StatsSnapshot); !ok || !strings.Contains(actor, "/stats") {
				return
			}
			handled++
			if handled == 1 {
				<-both
				return
			}
			faults = pageFaults()
		}
	})
	c := w.connect(messages.AtStats)
	c.succeeds("added", ":me", messages.StatsAdd{PID: os.Getpid()})
	first, second := w.askSnapshot(), w.askSnapshot()
	w.until("the host has passed on both", func() bool { return first.asked.Load() && second.asked.Load() })
	w.infos(":")
	close(both)
	most := int64(0) // either may be the second that is handled
	for _, s := range append(first.taken().Samples, second.taken().Samples...) {
		most = max(most, s.Stats.Rusage.MinFlt)
	}
	require.Positive(t, faults)
	require.GreaterOrEqual(t, most, faults)
}

// pageFaults makes this process have many page faults, and returns how many it has had.
func pageFaults() int64 {
	pages := make([]byte, 64<<20)
	for i := 0; i < len(pages); i += os.Getpagesize() {
		pages[i] = 1
	}
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return used.Minflt
}

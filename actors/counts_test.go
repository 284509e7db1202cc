package actors_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/actors/supervise"
	"albatross/messages"
)

// A census asks what consoles have counted, and tells when all have answered.
type census struct {
	host   *actor.PID
	asked  bool
	left   int
	counts []messages.ConsoleCounted
	done   chan []messages.ConsoleCounted
}

func (n *census) Started(c *supervise.Context) { c.Request(n.host, messages.ConsoleCounts{ID: 7}) }

func (n *census) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.ConsolesAsked:
		n.asked = true
		n.left += m.Consoles
	case messages.ConsoleCounted:
		n.left--
		n.counts = append(n.counts, m)
	case supervise.Crashed:
		if _, all := m.Message.(messages.ConsoleCounts); all {
			n.asked = true
		} else {
			n.left--
		}
	case supervise.Undeliverable:
		n.left--
	}
	if n.asked && n.left == 0 {
		n.done <- n.counts
		c.Stop(c.Self())
	}
}

func (n *census) Stopping(*supervise.Context, bool) {}

// counts are what consoles have counted, by name.
func (w *world) counts() map[string]messages.ConsoleCounted {
	w.t.Helper()
	n := &census{host: actors.Host(w.actors), done: make(chan []messages.ConsoleCounted, 1)}
	_, err := w.system.Spawn("census", func() supervise.Actor { return n }, supervise.Stop)
	require.NoError(w.t, err)
	select {
	case list := <-n.done:
		all := map[string]messages.ConsoleCounted{}
		for _, c := range list {
			all[c.Name.String()] = c
		}
		return all
	case <-time.After(deadline):
		require.FailNow(w.t, "not all consoles answer")
	}
	panic("unreachable")
}

func TestConsolesCount(t *testing.T) {
	w := newWorld(t)
	require.Empty(t, w.counts())
	w.succeeds("created unikernel", ":x", create(guest("chatty", "1000")))
	w.succeeds("created unikernel", "a:y", create(guest("hello", "--quiet")))
	require.Len(t, w.lines(":x", 1000), 1000)
	w.lines("a:y", 1)
	follower := w.follow("a:y", 1)
	defer follower.Close()
	bytes := 0
	for _, line := range number(1000) {
		bytes += len(line) + 1
	}
	w.until("who has left is not counted", func() bool { return w.counts()[":x"].Subscribers == 0 })
	y, err := messages.ParseName("a:y")
	require.NoError(t, err)
	all := w.counts()
	require.Len(t, all, 2)
	require.EqualValues(t, 1000, all[":x"].Lines)
	require.EqualValues(t, bytes, all[":x"].Bytes)
	text := len("hello from albatross: --name=y --quiet\n")
	require.Equal(t, messages.ConsoleCounted{ID: 7, Name: y, Lines: 1, Bytes: uint64(text), Subscribers: 1}, all["a:y"])
}

package actors_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

// subscribe follows the statistics of a name.
func (w *world) subscribe(name string) *client {
	w.t.Helper()
	c := w.connect(messages.AtStats)
	c.succeeds("subscribed", name, messages.StatsSubscribe{})
	return c
}

// succeeds gives a command on a connection that stays open, and checks its answer. Statistics that
// come meanwhile are skipped.
func (c *client) succeeds(text, name string, command messages.Command) {
	c.w.t.Helper()
	require.Equal(c.w.t, messages.SuccessText{Text: messages.Public(text)}, c.says(name, command))
}

func (c *client) says(name string, command messages.Command) messages.Payload {
	c.w.t.Helper()
	c.send(name, command)
	for {
		m := c.receive()
		if _, ok := m.Payload.(messages.DataStats); !ok {
			require.Equal(c.w.t, int64(7), m.Header.Sequence)
			return m.Payload
		}
	}
}

// statistics waits for the statistics of n unikernels, and returns them by name.
func (c *client) statistics(n int) map[string]messages.DataStats {
	c.w.t.Helper()
	all := map[string]messages.DataStats{}
	for len(all) < n {
		m := c.receive()
		require.Zero(c.w.t, m.Header.Sequence)
		require.Equal(c.w.t, messages.Version5, m.Header.Version)
		all[m.Header.Name.String()] = m.Payload.(messages.DataStats)
	}
	return all
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

func TestStatisticsAreNamedAsSeenFromThePath(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{":x", "a:y", "a:b:z"} {
		w.succeeds("created unikernel", name, create(guest("hello", "--quiet")))
	}
	for subscribed, want := range map[string][]string{
		":":     {":x", "a:y", "a:b:z"},
		"a:":    {":y", "b:z"},
		"a:b:":  {":z"},
		"a:y":   {":y"},
		"a:b:z": {":z"},
		":x":    {":x"},
	} {
		c := w.subscribe(subscribed)
		require.ElementsMatch(t, want, keys(c.statistics(len(want))), subscribed)
		c.Close()
	}
}

func TestWhatIsMeasured(t *testing.T) {
	w := newWorld(t, withBridge)
	before := time.Now().Add(-time.Second)
	w.succeeds("created unikernel", ":x", create(echo()))
	c := w.subscribe(":x")
	s := c.statistics(1)[":x"]
	require.Positive(t, s.KinfoMem.Value.VSize)
	start := time.Unix(s.KinfoMem.Value.Start.Seconds, int64(s.KinfoMem.Value.Start.Microseconds)*1000)
	require.WithinRange(t, start, before, time.Now())
	require.Len(t, s.IfData, 1)
	require.Equal(t, "service", s.IfData[0].Device)
	require.Equal(t, uint32(1500), s.IfData[0].MTU)

	w.restart()
	c = w.subscribe(":x")
	again := c.statistics(1)[":x"]
	require.Equal(t, s.KinfoMem.Value.Start, again.KinfoMem.Value.Start)
	require.Len(t, again.IfData, 1, "the tap of a unikernel that was taken over")
	require.Equal(t, "service", again.IfData[0].Device)
}

// TestASmallGuest: many files of the kernel show no memory for so small a guest. Its statistics do.
func TestASmallGuest(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	m := w.subscribe(":x").statistics(1)[":x"].KinfoMem.Value
	pages := m.VSize / int64(os.Getpagesize())
	require.Positive(t, m.Runtime)
	require.Positive(t, m.RSS)
	require.Less(t, m.RSS, pages)
	require.Positive(t, m.TSize)
	require.Less(t, m.TSize, pages)
}

func TestOnlyWhatRunsIsMeasured(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{":x", ":y"} {
		w.succeeds("created unikernel", name, create(guest("hello", "--quiet")))
	}
	c := w.subscribe(":")
	c.statistics(2)
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.until("statistics come only of the other one", func() bool { // one tick may have been measured before
		first, second := c.receive(), c.receive()
		return first.Header.Name == second.Header.Name
	})
	w.succeeds("created unikernel", ":y", force(guest("hello", "--quiet")))
	require.Contains(t, c.statistics(1), ":y")
}

// TestEverybodyWhoAsksGetsStatistics, whichever other clients follow the same names.
func TestEverybodyWhoAsksGetsStatistics(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	first := w.subscribe(":")
	first.succeeds("subscribed", ":x", messages.StatsSubscribe{})
	second, third := w.subscribe(":"), w.subscribe(":x")
	for range 3 {
		for _, c := range []*client{first, second, third} {
			require.Contains(t, c.statistics(1), ":x")
		}
	}
	second.Close()
	first.succeeds("subscribed", ":", messages.StatsSubscribe{}) // once more
	for range 3 {
		require.Contains(t, first.statistics(1), ":x")
		require.Contains(t, third.statistics(1), ":x")
	}
}

// untilClosed reads until the daemon closes the connection.
func (c *client) untilClosed() {
	c.w.t.Helper()
	end := time.After(deadline)
	for {
		select {
		case <-c.out:
		case <-c.closed:
			return
		case <-end:
			require.FailNow(c.w.t, "the connection stays open")
		}
	}
}

func TestManyCommandsOnOneConnection(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	c := w.connect(messages.AtStats)
	c.succeeds("removed", ":nope", messages.StatsRemove{})
	c.succeeds("added", "b:me", messages.StatsAdd{PID: os.Getpid()})
	c.succeeds("subscribed", "a:", messages.StatsSubscribe{})
	c.succeeds("subscribed", "b:", messages.StatsSubscribe{})
	require.ElementsMatch(t, []string{":x", ":me"}, keys(c.statistics(2)))
	c.succeeds("removed", "b:me", messages.StatsRemove{})
	c.succeeds("removed", "b:me", messages.StatsRemove{})
	require.Contains(t, c.statistics(1), ":x")
	require.Equal(t, messages.Failure{Text: "unexpected command"}, c.says(":", messages.PolicyInfo{}))
	c.untilClosed()

	c = w.connect(messages.AtStats)
	require.Equal(t, messages.Failure{Text: "unexpected message initial"}, c.says(":", messages.StatsInitial{}))
	c.untilClosed()
	w.fails("unknown command", ":", messages.StatsSubscribe{})
}

// A subscriber that does not read misses ticks. No other one does.
func TestASubscriberThatDoesNotRead(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.StatsInterval = time.Millisecond })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	asleep, awake := w.subscribe(":"), w.subscribe(":")
	for range 200 {
		awake.statistics(1)
	}
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	// These ticks were being written, or about to be, when the subscriber stopped reading. It still
	// gets them.
	ticks := 0
	for range 3 {
		asleep.send(":nope", messages.StatsRemove{})
		for asleep.receive().Payload != success("removed") {
			ticks++
		}
	}
	require.LessOrEqual(t, ticks, 3)
}

// A failure of the collector closes the connections of its clients, and has no other effect. A
// subscriber reads why.
func TestACollectorThatFails(t *testing.T) {
	faults := supervise.NewFaults(0, nil)
	w := newWorld(t, func(w *world) { w.faults = faults })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	reader, native := w.subscribe(":"), w.linkUp()
	w.adds(native, 8, ":x")
	faults.Set(supervise.Rule{Fault: supervise.CrashBefore, Kind: "stats", Nth: 1})
	for {
		m := reader.receive()
		if failure, ok := m.Payload.(messages.Failure); ok {
			require.Contains(t, failure.Text, "internal error: ")
			break
		}
	}
	reader.untilClosed()
	native.untilClosed()
	require.Contains(t, w.subscribe(":").statistics(1), ":x")
	w.adds(w.linkUp(), 8, ":x")
}

// Nothing is measured while nobody has subscribed.
func TestNobodyFollows(t *testing.T) {
	due := make(chan func(), 10)
	w := newWorld(t, func(w *world) { w.clock.AfterFunc = heldBack(w.config.StatsInterval, due) })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	require.Empty(t, due)
	c := w.subscribe(":")
	w.until("statistics come", func() bool { // the tick is lost if the subscriber has not given its credit yet
		select {
		case f := <-due:
			f()
		case m := <-c.out:
			return m.Header.Name.String() == ":x"
		default:
		}
		return false
	})
	c.Close()
	w.until("no tick is due", func() bool {
		w.snapshot() // the collector has handled what came before
		if len(due) == 0 {
			return true
		}
		(<-due)()
		return false
	})
}

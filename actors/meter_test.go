package actors_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
)

// metric returns the sum of all series of a metric.
func (w *world) metric(name string) (sum float64) {
	w.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.config.Meter, meter.Actors(w.system))
	families, err := registry.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// TestMissedLinesAreCounted: the metric has the number that a slow reader has read. It misses some
// because the disk has no room for what it has not read.
func TestMissedLinesAreCounted(t *testing.T) {
	w := newWorld(t, smallHistories(t, "4m"))
	const n = 200_000
	c := w.follow(":x", 0)
	defer c.Close()
	w.succeeds("created unikernel", ":x", create(guest("chatty", strconv.Itoa(n), "exit")))
	w.until("it has ended", func() bool { return len(w.infos(":x")) == 0 })
	missed := 0
	for last := 0; last < n; {
		line, lines := c.line(), 0
		if _, err := fmt.Sscanf(line, "[%d lines missed", &lines); err == nil {
			missed += lines
			continue
		}
		_, err := fmt.Sscanf(line, "line %d", &last)
		require.NoError(t, err, line)
	}
	require.Positive(t, missed)
	require.Equal(t, float64(missed), w.metric("albatross_console_missed_lines_total"))
}

// TestCommitsAreCounted: those that fail are counted, too.
func TestCommitsAreCounted(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(1, 32)))
	before := w.metric("albatross_store_commit_duration_seconds")
	require.Positive(t, before)
	require.Zero(t, w.metric("albatross_store_commit_failures_total"))
	require.NoError(t, w.config.DB.Close())
	require.IsType(t, messages.Failure{}, w.addPolicy("b:", policy(1, 32)))
	require.Greater(t, w.metric("albatross_store_commit_duration_seconds"), before)
	require.Positive(t, w.metric("albatross_store_commit_failures_total"))
	w.restart() // with the database again
}

// TestFailuresAreCounted by the kind of actor.
func TestFailuresAreCounted(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.faults = crashOnce(supervise.CrashBefore, "host", 2)
	})
	w.ask(":x", messages.PolicyInfo{})
	w.until("the failure is counted", func() bool { return w.metric("albatross_actor_failures_total") == 1 })
}

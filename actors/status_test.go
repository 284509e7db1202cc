package actors_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// statuses asks for the status of unikernels.
func (w *world) statuses(name string) []messages.UnikernelStatus {
	w.t.Helper()
	c := w.connect(messages.AtControl)
	c.send(name, messages.StatusList{})
	list := c.receive().Payload.(messages.SuccessStatuses).List
	<-c.closed
	return list
}

// TestStatus: the list shows what runs with what it uses, and what has ended.
func TestStatus(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.StatsInterval = time.Hour })
	require.Empty(t, w.statuses(":"))
	config := guest("hello", "--quiet", "secret")
	config.Memory = 48
	w.succeeds("created unikernel", "a:runs", create(config))
	w.succeeds("created unikernel", "a:ended", exiting("3", messages.FailBehaviour{}))
	w.ended("a:ended")

	list := w.statuses("a:")
	require.Len(t, list, 2)
	runs, gone := list[0], list[1] // in the order of listings: short labels first
	require.Equal(t, messages.Name{Label: "ended"}, gone.Name)
	require.Equal(t, messages.StateEnded, gone.State)
	require.Equal(t, 3, gone.End.Value.Exit.Code)
	require.Zero(t, gone.PID)

	require.Equal(t, messages.Name{Label: "runs"}, runs.Name)
	require.Equal(t, messages.StateRunning, runs.State)
	require.Equal(t, 48, runs.Arguments.Memory)
	require.False(t, runs.Arguments.Argv.OK, "arguments may be secrets")
	require.WithinDuration(t, time.Now(), runs.Started, deadline)
	require.DirExists(t, "/proc/"+strconv.Itoa(runs.PID))
	require.Positive(t, runs.Used.Value.Memory)
	require.LessOrEqual(t, runs.Used.Value.Memory, int64(96<<20))

	one := w.statuses("a:runs")
	require.Len(t, one, 1)
	require.Equal(t, messages.Name{Path: "a", Label: "runs"}, one[0].Name, "in full")
	require.Empty(t, w.statuses("b:"))
	require.Empty(t, w.statuses("a:none"))
}

// TestStatusOfARestart: the list shows when a unikernel that has ended is started again.
func TestStatusOfARestart(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", "x", exiting("3", messages.FailBehaviour{Restart: true}))
	var s messages.UnikernelStatus
	w.until("it waits", func() bool {
		s = w.statuses("x")[0]
		return s.State == messages.StateRestarting
	})
	require.Equal(t, 3, s.End.Value.Exit.Code)
	require.True(t, s.Wait.Value.Until.After(s.Wait.Value.Since))
	require.Equal(t, messages.Public("exit 3 asks for a restart"), s.Wait.Value.Cause)
	require.False(t, s.Used.OK)
}

// TestStatusOfAStoppedUnikernel: it is listed with what it would be started with.
func TestStatusOfAStoppedUnikernel(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", "x", create(guest("hello", "--quiet")))
	c := w.connect(messages.AtControl)
	c.send("x", messages.StopRequest{})
	require.Equal(t, success("stopped unikernel"), c.receive().Payload)
	s := w.statuses("x")[0]
	require.Equal(t, messages.StateStopped, s.State)
	require.WithinDuration(t, time.Now(), s.Stopped, deadline)
	require.Equal(t, 16, s.Arguments.Memory)
	require.Zero(t, s.PID)
	require.Equal(t, 15, s.End.Value.Exit.Signal)
}

// TestStatusMeasuresOnlyWhatIsAskedFor: else its cost would grow with all that runs.
func TestStatusMeasuresOnlyWhatIsAskedFor(t *testing.T) {
	var asked atomic.Value
	w := newWorld(t, func(w *world) {
		w.fault = func(actor string, message any) {
			if m, ok := message.(messages.StatsSnapshot); ok && strings.Contains(actor, "/stats") {
				asked.Store(m.Only)
			}
		}
	})
	for _, name := range []string{"a:one", "a:two", "b:three"} {
		w.succeeds("created unikernel", name, create(guest("hello", "--quiet")))
	}
	w.statuses("a:one")
	require.Equal(t, []messages.Name{{Path: "a", Label: "one"}}, asked.Load())
	w.statuses("a:")
	require.Len(t, asked.Load(), 2)
}

// TestStatusWhenTheCollectorFails: the answer lacks only what the unikernels use.
func TestStatusWhenTheCollectorFails(t *testing.T) {
	fails := true
	w := newWorld(t, func(w *world) {
		w.fault = func(actor string, message any) {
			if _, ok := message.(messages.StatsSnapshot); ok && strings.Contains(actor, "/stats") && fails {
				fails = false
				panic("a fault of this test")
			}
		}
	})
	w.succeeds("created unikernel", "x", create(guest("hello", "--quiet")))
	s := w.statuses("x")
	require.Len(t, s, 1)
	require.Equal(t, messages.StateRunning, s[0].State)
	require.False(t, s[0].Used.OK)
	w.until("the collector is back", func() bool { return w.statuses("x")[0].Used.OK })
}

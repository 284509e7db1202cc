package actors_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestProcessesThatClientsAdd(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	process := exec.Command("sleep", "infinity")
	require.NoError(t, process.Start())
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = process.Process.Kill()
			_ = process.Wait()
		}
	}
	t.Cleanup(end)
	c := w.connect(messages.AtStats)
	c.succeeds("added", ":p", messages.StatsAdd{PID: process.Process.Pid, Taps: []messages.Tap{{Device: "net", Tap: "lo"}, {Device: "no", Tap: "nope"}}})
	c.Close() // the collector keeps what was added
	c = w.connect(messages.AtStats)
	const twice = "cannot add %s: something is watched under this name already"
	require.Equal(t, messages.Failure{Text: messages.Publicf(twice, ":p")}, c.says(":p", messages.StatsAdd{PID: os.Getpid()}))
	require.Equal(t, messages.Failure{Text: messages.Publicf(twice, ":x")}, c.says(":x", messages.StatsAdd{PID: os.Getpid()}))
	require.IsType(t, messages.Failure{}, c.says(":x", messages.StatsRemove{}))
	c.succeeds("subscribed", ":", messages.StatsSubscribe{})
	all := c.statistics(2)
	require.Len(t, all[":p"].IfData, 1)
	require.Equal(t, "net", all[":p"].IfData[0].Device)

	// The entry vanishes with its process, and its name is free.
	end()
	w.until("it is forgotten", func() bool {
		return c.says(":p", messages.StatsAdd{PID: os.Getpid()}) == success("added")
	})
	gone := c.says(":q", messages.StatsAdd{PID: process.Process.Pid})
	require.Contains(t, gone.(messages.Failure).Text, "process is gone")

	// A unikernel takes precedence.
	w.succeeds("created unikernel", ":p", create(guest("hello", "--quiet")))
	require.IsType(t, messages.Failure{}, c.says(":p", messages.StatsRemove{}))
	w.succeeds("destroyed unikernel", ":p", messages.UnikernelDestroy{})
	c.succeeds("added", ":p", messages.StatsAdd{PID: os.Getpid()})
}

func TestWhatClientsMayHaveRememberedIsBounded(t *testing.T) {
	w := newWorld(t)
	c := w.connect(messages.AtStats)
	for i := range 1024 {
		c.succeeds("added", fmt.Sprintf("many:n%d", i), messages.StatsAdd{PID: os.Getpid()})
	}
	refused := c.says(":more", messages.StatsAdd{PID: os.Getpid()})
	require.Equal(t, messages.Failure{Text: "cannot add :more: 1024 processes have been added, and no more are possible"}, refused)
	c.succeeds("removed", "many:n7", messages.StatsRemove{})
	c.succeeds("added", ":more", messages.StatsAdd{PID: os.Getpid()})
	c.succeeds("removed", ":more", messages.StatsRemove{})
	refused = c.says(":more", messages.StatsAdd{PID: os.Getpid(), Taps: make([]messages.Tap, 65)})
	require.Equal(t, messages.Failure{Text: "cannot add :more with 65 taps: at most 64 are possible"}, refused)
	for text, tap := range map[string]messages.Tap{
		"an empty name cannot be used":                                              {Tap: "lo"},
		`the name "a b" cannot be used: it contains a space or a control character`: {Device: "a b", Tap: "lo"},
		"the name of a device may have at most 255 bytes":                           {Device: strings.Repeat("x", 256), Tap: "lo"},
		`"" cannot be the name of an interface: it is empty`:                        {Device: "net"},
	} {
		refused = c.says(":more", messages.StatsAdd{PID: os.Getpid(), Taps: []messages.Tap{tap}})
		require.Equal(t, fails("cannot add :more: "+text), refused)
	}
	for i := range 16 {
		c.succeeds("subscribed", fmt.Sprintf("none:n%d", i), messages.StatsSubscribe{})
	}
	refused = c.says(":", messages.StatsSubscribe{})
	require.Equal(t, messages.Failure{Text: "cannot follow more than 16 names on one connection: use another one"}, refused)
	c.succeeds("subscribed", "none:n3", messages.StatsSubscribe{})

	var others []*client
	for i := range 300 {
		other := w.connect(messages.AtStats)
		for j := range 10 {
			other.succeeds("subscribed", fmt.Sprintf("p%d:n%d", i, j), messages.StatsSubscribe{})
		}
		others = append(others, other)
	}
	for _, other := range others {
		other.Close()
	}
	c.succeeds("subscribed", "none:n3", messages.StatsSubscribe{})
}

// TestProcessesOfOthersCannotBeAdded: the daemon is root, and its client is not.
func TestProcessesOfOthersCannotBeAdded(t *testing.T) {
	w := newWorld(t)
	w.user.Store(65501)
	c := w.connect(messages.AtStats)
	refused := c.says(":p", messages.StatsAdd{PID: os.Getpid()})
	require.Equal(t, messages.Failure{Text: messages.Publicf("cannot look at process %d: it is a process of another user", os.Getpid())}, refused)
	w.user.Store(uint32(os.Getuid()))
	require.Equal(t, success("added"), c.says(":p", messages.StatsAdd{PID: os.Getpid()}))
}

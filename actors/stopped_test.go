package actors_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/netns"
)

// isStopped returns since when a unikernel is listed as stopped, in Unix time; 0: it is not.
func (w *world) isStopped(name string) int64 {
	w.t.Helper()
	for _, e := range w.ends(name) {
		return e.StoppedMillis
	}
	return 0
}

// TestStopAndStart of a unikernel with all kinds of devices: nothing of it is left on the machine, and
// all that was promised to it stays its own.
func TestStopAndStart(t *testing.T) {
	w := newWorld(t, withBridge, withBlocks, withCgroups)
	require.Equal(t, success("added policy"), w.addPolicy("a:", messages.Policy{
		Unikernels: 1, CPUIDs: []int{0}, Memory: 32, Block: messages.Some(2), Bridges: []string{bridge},
	}))
	w.succeeds("added block device", "a:storage", messages.BlockAdd{Size: 1})
	config := guest("several", "wait")
	config.Memory = 32
	config.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(bridge)}, {Name: "management", Bridge: messages.Some(bridge)}}
	config.Blocks = []messages.BlockDevice{{Name: "storage"}}
	w.succeeds("created unikernel", "a:x", create(config))
	before := w.infos("a:x")[0]
	pid := w.pid("a:x")
	w.followUntil("a:x", "waits")

	require.Equal(t, success("stopped unikernel"), w.control("a:x", messages.StopRequest{}))
	r, there := w.record("a:x")
	require.True(t, there, "the answer follows the record")
	require.Equal(t, r.Spec.StoppedMillis, w.isStopped("a:x"))
	for range 2 {
		require.NoDirExists(t, fmt.Sprint("/proc/", pid))
		require.Empty(t, w.infos(":"))
		require.NotZero(t, w.isStopped("a:x"))
		require.Empty(t, netns.Ports(t, bridge))
		require.True(t, w.empty("fifo"))
		require.Empty(t, w.cgroups())
		require.Empty(t, w.survey().Status, "no metric counts it")
		require.Empty(t, w.inactive(":"), "its console is in use")
		w.followUntil("a:x", "waits")
		require.IsType(t, messages.SuccessImage{}, w.ask("a:x", messages.UnikernelGet{Form: 2}))

		w.fails("maximum amount of unikernels (1) reached", "a:y", create(guest("hello")))
		w.fails("destroy: not found", "a:y", messages.UnikernelDestroy{})
		w.fails("remove block: is in use", "a:storage", messages.BlockRemove{})
		require.Equal(t, fails("unikernel would exceed running memory limit set by policy to 20 MB, used 32 MB"), w.addPolicy("a:", messages.Policy{
			Unikernels: 1, CPUIDs: []int{0}, Memory: 20, Block: messages.Some(2), Bridges: []string{bridge},
		}))
		other := echo()
		other.Networks[0].MAC = before.Info.Networks[0].MAC
		require.Contains(t, w.ask(":z", create(other)).(messages.Failure).Text, "another unikernel has it on bridge")
		w.restart()
	}

	require.Equal(t, success("created unikernel"), w.control("a:x", messages.StartRequest{}))
	after := w.infos("a:x")[0]
	require.True(t, after.Info.Started.After(before.Info.Started))
	after.Info.Started = before.Info.Started
	require.Equal(t, before, after)
	require.Len(t, netns.Ports(t, bridge), 2)
	require.Zero(t, w.isStopped("a:x"))
	require.Len(t, w.survey().Status, 1)
	events := []string{}
	w.until("its start is told", func() bool { events = w.eventsOf("a:x"); return len(events) == 5 })
	require.Contains(t, events[2], "exited by ")
	require.Contains(t, events[2], ": the command stop")
	require.Equal(t, []string{"stopped: the command stop", "started: the command start"}, events[3:])
}

// TestStoppedForNativeClients: they do not see it, and can replace, restart and destroy it.
func TestStoppedForNativeClients(t *testing.T) {
	stopped := func(t *testing.T) *world {
		w := newWorld(t, withShortTrial)
		w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "one")))
		w.pid(":x")
		require.Equal(t, success("stopped unikernel"), w.control("x", messages.StopRequest{}))
		w.fails("cannot create :x: a unikernel of this name is stopped: start it, destroy it, or replace it with --force", ":x", create(guest("hello")))
		require.Empty(t, w.infos(":x"))
		return w
	}
	t.Run("destroy", func(t *testing.T) {
		w := stopped(t)
		w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
		require.Zero(t, w.isStopped(":x"))
		w.requireEvents(":x", "created: the command create", "started: the command create",
			"exited by signal 15: the command stop", "stopped: the command stop", "destroyed: the command destroy")
		w.requireNothing()
	})
	t.Run("create --force", func(t *testing.T) {
		w := stopped(t)
		w.succeeds("created unikernel", ":x", force(guest("hello", "--quiet", "two")))
		require.Equal(t, []string{"--quiet", "two"}, w.infos(":x")[0].Info.Argv.Value)
		require.Zero(t, w.isStopped(":x"))
		w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
		w.requireNothing()
	})
	t.Run("restart", func(t *testing.T) {
		w := stopped(t)
		w.succeeds("created unikernel", ":x", messages.UnikernelRestart{Form: messages.RestartSame})
		require.Equal(t, []string{"--quiet", "one"}, w.infos(":x")[0].Info.Argv.Value)
		require.Zero(t, w.isStopped(":x"))
	})
}

// TestWhatCannotBeStoppedOrStarted.
func TestWhatCannotBeStoppedOrStarted(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, failure("cannot stop a:x: there is no such unikernel"), w.control("a:x", messages.StopRequest{}))
	require.Equal(t, failure("cannot start a:x: there is no such unikernel"), w.control("a:x", messages.StartRequest{}))
	require.Equal(t, failure("cannot stop a:: there is no such unikernel"), w.control("a:", messages.StopRequest{}))
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	require.Equal(t, failure("cannot start a:x: it is already running"), w.control("a:x", messages.StartRequest{}))
	require.Equal(t, success("stopped unikernel"), w.control("a:x", messages.StopRequest{}))
	require.Equal(t, failure("cannot stop a:x: it is stopped already"), w.control("a:x", messages.StopRequest{}))
}

// TestAStartThatItsTenderRefuses leaves it stopped, and the events tell why.
func TestAStartThatItsTenderRefuses(t *testing.T) {
	w := newWorld(t, withLongTrial)
	w.succeeds("created unikernel", ":x", create(guest("exit", "1", "60000")))
	require.Equal(t, success("stopped unikernel"), w.control("x", messages.StopRequest{}))
	w.succeeds("created unikernel", ":x", force(refusing()))
	w.until("it is stopped again", func() bool { return w.isStopped(":x") != 0 })
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"exited by signal 15: the command stop", "stopped: the command stop",
		"created: the command create --force", "started: the command create --force",
		"exited by exit 1: it ended by itself", "stopped: what had replaced it refused to run: exit 1")
	r, _ := w.record(":x")
	require.Equal(t, []string{"1", "60000"}, r.Spec.Arguments.Argv.Value)
}

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

// TestStopAndStart: nothing of what is stopped is left on the machine, and all that was promised to it stays
// its own.
func TestStopAndStart(t *testing.T) {
	w := newWorld(t, withBridge, withBlocks, withCgroups)
	limits := messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 48, Block: messages.Some(2), Bridges: []string{bridge}}
	require.Equal(t, success("added policy"), w.addPolicy("a:", limits))
	w.succeeds("added block device", "a:storage", messages.BlockAdd{Size: 1})
	onNetwork, withDevice := echo(), guest("disk", "read", "1000000000")
	onNetwork.Memory = 32
	withDevice.Blocks = []messages.BlockDevice{{Name: "storage"}}
	w.succeeds("created unikernel", "a:net", create(onNetwork))
	w.succeeds("created unikernel", "a:disk", create(withDevice))
	w.followUntil("a:disk", "1048576 bytes in sectors of 512")
	before := w.infos("a:")
	pid := w.pid("a:net")

	for _, name := range []string{"a:net", "a:disk"} {
		require.Equal(t, success("stopped unikernel"), w.control(name, messages.StopRequest{}))
		r, there := w.record(name)
		require.True(t, there, "the answer follows the record")
		require.Equal(t, r.Spec.StoppedMillis, w.isStopped(name))
	}
	for range 2 {
		require.NoDirExists(t, fmt.Sprint("/proc/", pid))
		require.Empty(t, w.infos(":"))
		require.NotZero(t, w.isStopped("a:net"))
		require.Empty(t, netns.Ports(t, bridge))
		require.True(t, w.empty("fifo"))
		require.Empty(t, w.cgroups())
		require.Empty(t, w.survey().Status, "no metric counts it")
		require.Empty(t, w.inactive(":"), "its console is in use")
		w.followUntil("a:disk", "1048576 bytes in sectors of 512")
		require.IsType(t, messages.SuccessImage{}, w.ask("a:net", messages.UnikernelGet{Form: 2}))

		w.fails("maximum amount of unikernels (2) reached", "a:y", create(guest("hello")))
		w.fails("remove block: is in use", "a:storage", messages.BlockRemove{})
		less := limits
		less.Memory = 47
		require.Equal(t, fails("unikernel would exceed running memory limit set by policy to 47 MB, used 48 MB"), w.addPolicy("a:", less))
		other := echo()
		other.Networks[0].MAC = before[0].Info.Networks[0].MAC
		require.Contains(t, w.ask(":z", create(other)).(messages.Failure).Text, "another unikernel has it on bridge")
		w.restart()
	}

	for _, name := range []string{"a:net", "a:disk"} {
		require.Equal(t, success("created unikernel"), w.control(name, messages.StartRequest{}))
		require.Zero(t, w.isStopped(name))
	}
	after := w.infos("a:")
	for i := range after {
		require.True(t, after[i].Info.Started.After(before[i].Info.Started))
		after[i].Info.Started = before[i].Info.Started
	}
	require.Equal(t, before, after)
	require.Len(t, netns.Ports(t, bridge), 1)
	require.Len(t, w.survey().Status, 2)
	w.requireEvents("a:net", "created: the command create", "started: the command create",
		"exited by signal 15: the command stop", "stopped: the command stop", "started: the command start")
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

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
	"albatross/test/programs"
)

// noKeeper is how operators do without.
const noKeeper = "--no-keeper"

// onBothKernels runs a test on this kernel, and as on one before Linux 6.15, which tells
// nobody but the parent how a process has ended.
func onBothKernels(t *testing.T, test func(t *testing.T, old bool)) {
	for title, old := range map[string]bool{"this kernel": false, "an old kernel": true} {
		t.Run(title, func(t *testing.T) { test(t, old) })
	}
}

// newHostOn returns a host whose daemon runs.
func newHostOn(t *testing.T, oldKernel bool, args ...string) *host {
	h := emptyHost(t)
	h.oldKernel, h.args = oldKernel, args
	h.start()
	return h
}

// keeper returns the process of the keeper, or 0.
func (h *host) keeper() int {
	if pids := programs.Keepers(h.path("db")); len(pids) > 0 {
		return pids[0]
	}
	return 0
}

// killKeeper kills the keeper, and waits for its end.
func (h *host) killKeeper() {
	if pid := h.keeper(); pid > 0 {
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		h.until("the keeper ends", func() bool { return h.keeper() != pid })
	}
}

// hasChildren reports whether there is a process that its parent has not reaped. One that is about
// to end has no command line any more, but may take some milliseconds, as the last one does that
// leaves a void.
func hasChildren(parent int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	return slices.ContainsFunc(stats, func(path string) bool {
		text, _ := os.ReadFile(path) // it may have ended meanwhile
		_, fields, _ := strings.Cut(string(text), ") ")
		return len(strings.Fields(fields)) > 1 && strings.Fields(fields)[1] == strconv.Itoa(parent)
	})
}

// TestAKeeperSawWhatNoDaemonSaw: how unikernels end while no daemon runs is known, with
// the time, also for the rules of a restart.
func TestAKeeperSawWhatNoDaemonSaw(t *testing.T) { onBothKernels(t, endWithoutDaemon) }

func endWithoutDaemon(t *testing.T, oldKernel bool) {
	h := newHostOn(t, oldKernel)
	again := guest("exit", "3", "300")
	again.Fail = messages.FailBehaviour{Restart: true, Codes: []int{3}}
	h.create("again", again)
	h.create("not-again", guest("exit", "4", "300"))
	h.create("killed", guest("hello", "--quiet"))
	h.untilStored()
	killed := h.pid("killed")
	h.kill()
	require.NoError(t, unix.Kill(killed, unix.SIGKILL))
	h.until("all end", func() bool { return !hasChildren(h.keeper()) })
	ended := time.Now()
	h.start()
	h.until("they are gone", func() bool { return len(h.infos("not-again"))+len(h.infos("killed")) == 0 })
	require.Equal(t, messages.Exit{Known: true, Code: 4}, h.exit("not-again"))
	require.Equal(t, messages.Exit{Known: true, Signal: 9}, h.exit("killed"))
	for _, name := range []string{"not-again", "killed"} {
		end := h.ends(name)[0].End
		require.NotZero(t, end.AtMillis, "the time is known")
		require.True(t, end.Usage.OK, "and what it has used")
		require.LessOrEqual(t, end.AtMillis, ended.UnixMilli())
	}
	h.until("one is started again", func() bool { return len(h.ends("again")) > 0 })
	require.Equal(t, messages.Exit{Known: true, Code: 3}, h.exit("again"))
	require.IsType(t, messages.SuccessText{}, h.ask("again", messages.UnikernelDestroy{})) // it runs, or waits
}

// TestNobodyWaitsForADaemonWithAKeeper: a unikernel that prints more than its pipe holds
// goes on while no daemon runs, and what it has printed last can be read.
func TestNobodyWaitsForADaemonWithAKeeper(t *testing.T) {
	const lines = 500_000
	h := newHostOn(t, true)
	h.create("talker", guest("chatty", strconv.Itoa(lines), "exit"))
	h.untilStored()
	h.kill()
	h.until("it ends", func() bool { return len(h.processes()) == 0 })
	h.start()
	h.until("it is gone", func() bool { return len(h.infos("talker")) == 0 })
	require.Equal(t, messages.Exit{Known: true}, h.exit("talker"))
	f := h.subscribe("talker", 3)
	for n := lines - 2; n <= lines; n++ {
		require.Equal(t, "line "+strconv.Itoa(n), f.line())
	}
}

// TestNoCgroupStays: when the daemon has gone, and then the last unikernel, so has the last
// cgroup.
func TestNoCgroupStays(t *testing.T) {
	h := newHostOn(t, false)
	h.create("one", guest("hello", "--quiet"))
	h.create("two", guest("hello", "--quiet"))
	h.untilStored()
	if len(h.cgroups()) == 0 {
		t.Skip("there are no cgroups here")
	}
	one, two := h.pid("one"), h.pid("two")
	h.kill()
	require.NoError(t, unix.Kill(one, unix.SIGKILL))
	h.until("its cgroup has gone", func() bool { return len(h.cgroups()) == len(h.cgroupParents()) })
	require.NoError(t, unix.Kill(two, unix.SIGKILL))
	h.until("all cgroups have gone", func() bool { return len(h.cgroupParents()) == 0 })
	h.start()
	h.until("both are gone", func() bool { return len(h.infos(":")) == 0 })
	h.create("one", guest("hello", "--quiet"))
	require.NotEmpty(t, h.cgroups())
}

// TestADaemonAndItsKeeperMayDie, in any order, and no unikernel ends.
func TestADaemonAndItsKeeperMayDie(t *testing.T) { onBothKernels(t, killBoth) }

func killBoth(t *testing.T, oldKernel bool) {
	h := newHostOn(t, oldKernel)
	h.create("one", guest("hello"))
	one, keeper := h.pid("one"), h.keeper()
	require.NotZero(t, keeper)

	h.killKeeper()
	h.until("there is another keeper", func() bool { return h.keeper() != 0 })
	h.create("two", guest("hello", "--quiet"))
	two := h.pid("two")
	require.Equal(t, one, h.pid("one"))
	require.Contains(t, h.subscribe("one", 0).line(), "tick")

	h.untilStored()
	h.kill()
	h.killKeeper()
	h.start()
	require.Equal(t, map[string][]int{"one": {one}, "two": {two}}, h.processes())
	require.Contains(t, h.subscribe("one", 0).line(), "tick")

	// Nobody's child any more: how it ends is known as far as the kernel tells.
	require.NoError(t, unix.Kill(two, unix.SIGKILL))
	h.until("it is gone", func() bool { return len(h.infos("two")) == 0 })
	if exit := h.exit("two"); exit.Known || !oldKernel {
		require.Equal(t, messages.Exit{Known: true, Signal: 9}, exit)
	}
	h.create("two", guest("hello", "--quiet"))

	// One that is stopped makes nobody wait for ever.
	require.NoError(t, unix.Kill(h.keeper(), unix.SIGSTOP))
	h.create("three", guest("hello", "--quiet"))
	h.requireText("destroyed unikernel", "two", messages.UnikernelDestroy{})
	require.NoError(t, unix.Kill(h.keeper(), unix.SIGCONT))
	require.Len(t, h.infos(":"), 2)
	require.Contains(t, h.log(), "Starting a unikernel without the keeper")

	// A daemon that wants no keeper leaves that nothing to read.
	require.NoError(t, h.stop())
	h.args = []string{noKeeper}
	h.start()
	require.Equal(t, one, h.pid("one"))
	require.Contains(t, h.subscribe("one", 0).line(), "tick")
	require.NotContains(t, h.log(), "Cannot keep history")
	h.killKeeper() // no daemon that wants one will come
}

// stopKeeper stops a keeper at a moment at which it does not read.
func (h *host) stopKeeper(pid int) {
	f, err := os.Open(h.path("db", wire.Dir, wire.Readers))
	require.NoError(h.t, err)
	defer f.Close()
	h.until("the keeper is stopped while it does not read", func() bool {
		require.NoError(h.t, unix.Kill(pid, unix.SIGSTOP))
		h.until("it has stopped", func() bool { return hasStopped(h.t, pid) })
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return true
		}
		require.NoError(h.t, unix.Kill(pid, unix.SIGCONT))
		return false
	})
}

// hasStopped reports whether all threads of a process have stopped.
func hasStopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		require.NoError(t, err)
		if !strings.Contains(string(stat), ") T ") {
			return false
		}
	}
	return len(threads) > 0
}

// TestADaemonBesideAStoppedKeeper goes on as without one, reads all that is printed, once,
// and uses the keeper when that goes on.
func TestADaemonBesideAStoppedKeeper(t *testing.T) {
	h := newHostOn(t, true)
	had := map[string]int{"one": 0}
	h.create("one", guest("hello"))
	h.create("ended", guest("hello", "--quiet"))
	h.requireTicks(had)
	h.untilStored()
	keeper, ended := h.keeper(), h.pid("ended")
	h.kill()
	h.stopKeeper(keeper)
	require.NoError(t, unix.Kill(ended, unix.SIGKILL))
	h.start()
	require.Contains(t, h.log(), "Going on without the keeper until it answers")
	had["two"] = 0
	h.create("two", guest("hello"))
	h.until("the one that has ended is gone", func() bool { return len(h.infos("ended")) == 0 })
	h.requireTicks(had)

	require.NoError(t, unix.Kill(keeper, unix.SIGCONT))
	h.until("the daemon uses the keeper", func() bool { return strings.Contains(h.log(), "The keeper is used again") })
	require.Equal(t, keeper, h.keeper())
	h.requireTicks(had)
	require.NoError(t, unix.Kill(h.pid("one"), unix.SIGKILL))
	h.until("it is gone", func() bool { return len(h.infos("one")) == 0 })
	require.Equal(t, messages.Exit{Known: true, Signal: 9}, h.exit("one"), "its parent knows it again")
}

// steps are more than a start needs descriptors.
const steps = 24

// TestAStartWithoutADescriptorLeft, at each of its steps: the keeper may have started a process that
// the daemon never learns of. It forgets that as well, and ends with the daemon.
func TestAStartWithoutADescriptorLeft(t *testing.T) {
	h := newHost(t)
	h.create("stays", guest("hello", "--quiet"))
	daemon := h.daemon.Process.Pid
	var usual unix.Rlimit
	require.NoError(t, unix.Prlimit(daemon, unix.RLIMIT_NOFILE, nil, &usual))
	failed := 0
	for i := range steps {
		conn := h.dial("vmmd")
		h.infos(":") // on a later connection: that one has been accepted
		limit := &unix.Rlimit{Cur: lowestFree(t, daemon) + uint64(i), Max: usual.Max}
		require.NoError(t, unix.Prlimit(daemon, unix.RLIMIT_NOFILE, limit, nil))
		say(t, conn, "more", create(guest("hello", "--quiet")))
		answer := hear(t, conn).Payload
		require.NoError(t, unix.Prlimit(daemon, unix.RLIMIT_NOFILE, &usual, nil))
		if _, refused := answer.(messages.Failure); refused {
			failed++
		} else {
			h.requireText("destroyed unikernel", "more", messages.UnikernelDestroy{})
		}
		_ = conn.Close()
	}
	require.Greater(t, failed, 5)
}

// lowestFree returns the lowest number that no descriptor of a process has.
func lowestFree(t *testing.T, pid int) (number uint64) {
	for ; ; number++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, number)); err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
			return number
		}
	}
}

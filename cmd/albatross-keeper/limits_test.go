package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/history"
	client "albatross/runtime/keeper"
	"albatross/runtime/keeper/wire"
	"albatross/test/netns"
)

// TestWhatItIsMadeOf: a process that stays for years, and that all depends on, has no
// network, no actors and no database.
func TestWhatItIsMadeOf(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, dep := range strings.Fields(string(out)) {
		require.NotEqual(t, "net", dep)
		for _, not := range []string{"protoactor", "bbolt", "cobra", "prometheus", "albatross/actors", "albatross/sockets"} {
			require.NotContains(t, dep, not)
		}
	}
}

const (
	// most is how much memory the keeper has at rest, in kB, as the kernel counts what is
	// resident: half of that is the program itself.
	most = 6 << 10
	// manyRun and manyEnd are how many processes that is with.
	manyRun = 100
	manyEnd = 100
)

// TestMemory: the keeper is small at rest, after a flood and with many processes.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	w.rest()
	t.Logf("%d kB resident when it has started", resident(t, w.keeper))
	flood := w.run("flood", self(), "print", "300000", "0", "0")
	flood.Close()
	require.NoError(t, w.client.Leave(t.Context(), flood.Process))
	for i := range manyRun {
		g := w.run("run"+strconv.Itoa(i), "/bin/sleep", "600")
		g.Close()
	}
	for i := range manyEnd {
		g := w.run("end"+strconv.Itoa(i), "/bin/true")
		g.Close()
	}
	w.until("all end", func() bool { return w.endsReported() == manyEnd+1 })
	w.disconnect() // nothing of that is acknowledged
	w.rest()
	kB := resident(t, w.keeper)
	t.Logf("%d kB resident with %d processes, and %d that have ended", kB, manyRun, manyEnd)
	require.LessOrEqual(t, kB, most)
}

// TestNothingIsDoneWhereNothingHappens: with processes that say nothing, whether a daemon
// is connected or not, the kernel gives the keeper no processor for a while.
func TestNothingIsDoneWhereNothingHappens(t *testing.T) {
	const quiet = 3 * time.Second
	w := newWorld(t)
	flood := w.run("flood", self(), "print", "100000", "0", "0")
	flood.Close()
	require.NoError(t, w.client.Leave(t.Context(), flood.Process))
	w.ended(flood.Process)
	for i := range 10 {
		g := w.run("n"+strconv.Itoa(i), "/bin/sleep", "600")
		g.Close()
	}
	for _, connected := range []bool{true, false} {
		if !connected {
			w.disconnect()
		}
		w.until("it does nothing", func() bool { // unless garbage is just collected, as every two minutes
			runs, used := w.rest(), processorTime(t, w.keeper)
			time.Sleep(quiet)
			return switches(t, w.keeper) == runs && processorTime(t, w.keeper) == used
		})
	}
}

// processorTime returns the time that a process has used, in clock ticks.
func processorTime(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[11] + " " + fields[12]
}

// descriptors returns what a process has open, in order, except the lock of the daemon that
// reads: the keeper may wait for that one, once, for as long as the daemon runs.
func descriptors(t *testing.T, pid int) (list []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && filepath.Base(to) != wire.Readers { // or it was closed just then
			list = append(list, strings.TrimRight(to, "[]0123456789"))
		}
	}
	slices.Sort(list)
	return list
}

// TestNothingLeaks: what was started, has ended and is forgotten leaves no descriptor, no
// thread and no file behind.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t)
	w.serve()
	cycle := func() {
		g := w.shell("a", "echo hello; exit 1")
		g.Close()
		require.NoError(t, w.client.Leave(t.Context(), g.Process))
		w.ended(g.Process)
		require.NoError(t, w.client.Forget(t.Context(), g.Process))
		_, err := start(t.Context(), w.client, client.Order{Name: named("b"), Argv: []string{"/nonexistent"}})
		require.ErrorContains(t, err, "no such file")
		w.disconnect()
		w.connect()
	}
	upgrades := func() {
		require.NoError(t, w.client.Upgrade(w.ctx(), builds[1]))
		require.NoError(t, w.client.Upgrade(w.ctx(), builds[0]))
	}
	cycle()
	upgrades()
	cycle()
	w.rest()
	before := descriptors(t, w.keeper)
	for range 20 {
		cycle()
	}
	upgrades()
	cycle()
	w.rest()
	require.Equal(t, before, descriptors(t, w.keeper))
	require.LessOrEqual(t, statusOf(t, strconv.Itoa(w.keeper), "Threads"), 12)
}

// TestTooManyOpenFiles: who asks reads that, what runs goes on, and all works again when
// there are enough.
func TestTooManyOpenFiles(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exec sleep 600")
	defer g.Close()
	var usual unix.Rlimit
	require.NoError(t, unix.Prlimit(w.keeper, unix.RLIMIT_NOFILE, nil, &usual))
	now := descriptors(t, w.keeper)
	for spare := range 12 {
		few := usual
		few.Cur = uint64(len(now) + spare)
		require.NoError(t, unix.Prlimit(w.keeper, unix.RLIMIT_NOFILE, &few, nil))
		s, err := start(w.ctx(), w.client, orderOf("b", "/bin/true"))
		if err == nil {
			s.Close()
			w.ended(s.Process)
			require.NoError(t, w.client.Forget(w.ctx(), s.Process))
			continue
		}
		require.ErrorContains(t, err, "too many open files", "%d more", spare)
	}
	require.NoError(t, unix.Prlimit(w.keeper, unix.RLIMIT_NOFILE, &usual, nil))
	b := w.shell("b", "exit 2")
	b.Close()
	require.Equal(t, messages.Exit{Known: true, Code: 2}, w.ended(b.Process).End.Exit)
	require.NoError(t, w.client.Forget(t.Context(), b.Process))
	w.rest()
	require.Equal(t, now, descriptors(t, w.keeper))
}

// TestAFullDisk: nobody waits for room on it. What could not be written is there when it
// can be.
func TestAFullDisk(t *testing.T) {
	netns.Need(t) // and with it, mounts of its own
	dbdir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dbdir, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dbdir, 0)) })
	w := newWorldIn(t, dbdir)
	const lines, others = 100_000, 100
	g := w.launch("a", self(), "print", strconv.Itoa(lines), "0", "6")
	all := map[messages.Process]messages.Exit{g.Process: {Known: true, Code: 6}}
	var gates []guest
	for i := range others { // whose ends take more room than the journal has left
		other := w.launch("n"+strconv.Itoa(i), "/bin/true")
		all[other.Process] = messages.Exit{Known: true}
		gates = append(gates, other)
	}
	filler := filepath.Join(dbdir, "filler")
	fill(t, filler)
	for _, other := range append(gates, g) {
		other.open(t)
		other.Close()
	}
	w.disconnect()
	w.until("all end", func() bool { return len(runningOf(all)) == 0 })
	require.Less(t, endsIn(w.journal()), others)
	require.NoError(t, os.Remove(filler))
	w.until("all is on disk", func() bool { return endsIn(w.journal()) == len(all) })
	w.until("the last lines are there", func() bool { return len(w.history("a")) > 0 })
	lastLines := w.history("a")
	require.Equal(t, numbered(lines-history.Lines+1, lines), lastLines)
	w.connect()
	w.requireEnds(all)
	w.until("the trouble was reported", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.trouble) > 1 })
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Contains(t, strings.Join(w.trouble, "\n"), "Cannot write the journal")
	w.trouble = nil
}

func endsIn(list []entry) (n int) {
	for _, e := range list {
		if e.End != nil {
			n++
		}
	}
	return n
}

// fill makes a file that takes all the room that there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			size /= 2
		}
	}
	require.NoError(t, f.Close())
}

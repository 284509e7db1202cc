package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	client "albatross/runtime/keeper"
)

// group makes directories that stand for the cgroup of a unikernel, and its parent.
func (w *world) group(name string) (own, parent string) {
	parent = filepath.Join(w.dbdir, "group-of-all")
	own = filepath.Join(parent, named(name).String())
	require.NoError(w.t, os.MkdirAll(own, 0o755))
	return own, parent
}

// runIn is run with a cgroup.
func (w *world) runIn(name string, dirs []string, argv ...string) guest {
	w.t.Helper()
	o := orderOf(name, argv...)
	o.Dirs = dirs
	g, err := start(w.ctx(), w.client, o)
	require.NoError(w.t, err)
	g.open(w.t)
	return g
}

// untilGone waits until directories were removed.
func (w *world) untilGone(dirs ...string) {
	w.t.Helper()
	w.until("the directories are removed", func() bool {
		for _, dir := range dirs {
			if _, err := os.Stat(dir); err == nil {
				return false
			}
		}
		return true
	})
}

// TestTheLastCgroup: if no daemon runs, the keeper removes the cgroup of a unikernel when that
// has ended, and the parent after the last one. A daemon that runs does it itself.
func TestTheLastCgroup(t *testing.T) {
	w := newWorld(t)
	a, parent := w.group("a")
	b, _ := w.group("b")
	c, _ := w.group("c")
	first := w.runIn("a", []string{a, parent}, "/bin/sleep", "1000")
	second := w.runIn("b", []string{b, parent}, "/bin/sleep", "1000")
	third := w.runIn("c", []string{c, parent}, "/bin/sleep", "1000")
	require.NoError(t, unix.Kill(first.Process.PID, unix.SIGKILL))
	w.ended(first.Process)
	require.DirExists(t, a)

	w.disconnect()
	w.untilGone(a)
	require.DirExists(t, b, "its process runs")

	// Another keeper knows them from the journal.
	w.kill()
	w.connect()
	w.disconnect()
	require.NoError(t, unix.Kill(second.Process.PID, unix.SIGKILL))
	w.untilGone(b)
	require.DirExists(t, parent, "a cgroup is in it")

	// So does another build.
	w.connect()
	require.NoError(t, w.client.Upgrade(w.ctx(), builds[1]))
	w.disconnect()
	require.NoError(t, unix.Kill(third.Process.PID, unix.SIGKILL))
	w.untilGone(c, parent)
	w.connect()
}

// TestCgroupsThatAreUsedAgain: a cgroup of an earlier unikernel of the same name is not empty.
func TestCgroupsThatAreUsedAgain(t *testing.T) {
	w := newWorld(t)
	a, parent := w.group("a")
	earlier := w.runIn("a", []string{a, parent}, "/bin/sleep", "1000")
	require.NoError(t, unix.Kill(earlier.Process.PID, unix.SIGKILL))
	w.ended(earlier.Process)
	require.NoError(t, os.WriteFile(filepath.Join(a, "process"), nil, 0o600)) // keeps it from being empty
	other, _ := w.group("other")
	ended := w.runIn("other", []string{other, parent}, "/bin/true")
	w.ended(ended.Process)
	w.disconnect()
	w.untilGone(other)
	require.DirExists(t, a)
	w.connect()
}

// TestCgroupsOfADaemonWithoutAKeeper are that daemon's to remove, also if the keeper is the
// parent of the process.
func TestCgroupsOfADaemonWithoutAKeeper(t *testing.T) {
	w := newWorld(t)
	a, parent := w.group("a")
	first := w.runIn("a", []string{a, parent}, "/bin/sleep", "1000")
	second := w.run("b", "/bin/sleep", "1000")
	w.disconnect()
	claim, err := client.NewClaim(w.ctx(), w.dbdir)
	require.NoError(t, err)
	for n, g := range []guest{first, second} { // after the second end, all that follows from the first is done
		require.NoError(t, unix.Kill(g.Process.PID, unix.SIGKILL))
		w.until("the end is on record", func() bool { return w.endsOnRecord() == n+1 })
	}
	require.DirExists(t, a)
	claim.Release()
	w.untilGone(a, parent)
	w.connect()
}

// endsOnRecord returns how many ends are in the journal.
func (w *world) endsOnRecord() (n int) {
	for _, e := range w.journal() {
		if e.End != nil {
			n++
		}
	}
	return n
}

// TestLackOfMemory is what the cgroup of the process shows, in both versions. What others below
// the same parent did does not count.
func TestLackOfMemory(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		file, text string
		lacked     bool
	}{
		"a": {"memory.events", "low 0\noom 1\noom_kill 1\n", true},
		"b": {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", true},
		"c": {"memory.events", "oom 1\noom_kill 0\n", false},
		"d": {"other", "oom_kill 1\n", false},
	} {
		own, parent := w.group(name)
		require.NoError(t, os.WriteFile(filepath.Join(parent, "memory.events"), []byte("oom_kill 7\n"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(own, tc.file), []byte(tc.text), 0o600))
		g := w.runIn(name, []string{own, parent}, "/bin/sleep", "1000")
		require.NoError(t, unix.Kill(g.Process.PID, unix.SIGKILL))
		want := messages.Exit{Known: true, Signal: int(unix.SIGKILL), OutOfMemory: tc.lacked}
		require.Equal(t, want, w.ended(g.Process).End.Exit, name)
	}
}

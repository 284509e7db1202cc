package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/messages"
)

var noLimits Limits

// joined returns a worker in a cgroup of its own.
func joined(t *testing.T, tree *Tree, name messages.Name, limits Limits) *worker {
	t.Helper()
	require.NoError(t, tree.Create(name, limits))
	w := start(t)
	require.NoError(t, tree.Join(name, w.pid))
	return w
}

// requireIn checks that a process is in a cgroup of the tree.
func requireIn(t *testing.T, tree *Tree, name messages.Name, process string) {
	t.Helper()
	for _, b := range tree.branches {
		require.Equal(t, strings.TrimPrefix(b.path(name), b.root), group(t, b, process))
	}
}

func requireNone(t *testing.T, tree *Tree) {
	t.Helper()
	for _, b := range tree.branches {
		require.Empty(t, names(t, b))
	}
}

func TestJoinMovesAllThreads(t *testing.T) {
	tree, name := newTree(t), parse(t, "a:hello")
	w := joined(t, tree, name, noLimits)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", w.pid))
	require.NoError(t, err)
	require.Greater(t, len(threads), 1)
	for _, thread := range threads {
		requireIn(t, tree, name, filepath.Join(strconv.Itoa(w.pid), "task", thread.Name()))
	}
	require.Equal(t, "here", w.ask("here?"))
}

func TestJoinOfNobody(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	require.NoError(t, tree.Create(name, noLimits))
	for _, pid := range []int{0, -1} { // with 0 the test itself would join
		require.ErrorContains(t, tree.Join(name, pid), "internal error")
	}
	err := tree.Join(name, 1<<30)
	require.ErrorIs(t, err, unix.ESRCH)
	require.ErrorContains(t, err, "cannot move process 1073741824 to cgroup :hello: ")
	require.NoError(t, tree.Remove(name))
}

func TestJoinOfNoCgroup(t *testing.T) {
	require.ErrorIs(t, newTree(t).Join(parse(t, "hello"), start(t).pid), os.ErrNotExist)
}

func TestAnyNameIsACgroup(t *testing.T) {
	tree := newTree(t)
	label := strings.Repeat("x", messages.MaxLabel)
	for _, text := range []string{".", "..", "..:..", "tasks", "a:", "cgroup.procs", strings.Join([]string{label, label, label, label}, ":")} {
		name := parse(t, text)
		joined(t, tree, name, noLimits)
		for _, b := range tree.branches {
			require.Contains(t, names(t, b), name)
		}
	}
}

func TestCreateAgainForgetsTheLimits(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	require.NoError(t, tree.Create(name, Limits{Memory: 4 << 20, CPUs: []int{0}}))
	require.NoError(t, tree.Create(name, noLimits))
	w := start(t)
	before := w.ask("cpus?")
	require.NoError(t, tree.Join(name, w.pid))
	require.Equal(t, before, w.ask("cpus?"))
	require.Equal(t, "<nil>", w.ask("use 50000000"))
}

func TestCreateAgainAfterTheEnd(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	for range 20 {
		w := joined(t, tree, name, noLimits)
		w.kill()
		w.awaitZombie()
	}
	require.NoError(t, tree.Create(name, noLimits))
}

func TestCreateLeavesProcessesAlone(t *testing.T) {
	t.Parallel() // it waits for the process to end
	tree, name := newTree(t), parse(t, "hello")
	w := joined(t, tree, name, noLimits)
	err := tree.Create(name, Limits{Memory: 1 << 20, CPUs: []int{0}})
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, fmt.Sprintf("cannot make cgroup :hello: process %d is in it: ", w.pid))
	requireIn(t, tree, name, strconv.Itoa(w.pid))
	require.Equal(t, "<nil>", w.ask("use 50000000"))
}

func TestRemove(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	require.NoError(t, tree.Remove(name), "never made")
	require.NoError(t, tree.Create(name, noLimits))
	require.NoError(t, tree.Remove(name))
	requireNone(t, tree)
	require.NoError(t, tree.Remove(name), "again")
}

func TestRemoveWhatACrashHasLeft(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	for _, b := range tree.branches {
		require.NoError(t, os.Mkdir(b.path(name), 0o755)) // it is in one hierarchy, and not yet in others
		require.NoError(t, tree.Remove(name))
		requireNone(t, tree)
	}
}

func TestRemoveOfAProcessThatWasReaped(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	for range 20 {
		w := joined(t, tree, name, noLimits)
		w.kill()
		w.reap()
		require.NoError(t, tree.Remove(name))
	}
	requireNone(t, tree)
}

func TestRemoveOfAZombie(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	w := joined(t, tree, name, noLimits)
	w.kill()
	w.awaitZombie()
	require.NoError(t, tree.Remove(name))
	requireNone(t, tree)
}

// The kernel does not report when the process leaves its cgroup. Here it does so long after Remove
// was called.
func TestRemoveWaitsForTheEnd(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	w := joined(t, tree, name, noLimits)
	time.AfterFunc(50*time.Millisecond, w.kill)
	require.NoError(t, tree.Remove(name))
	requireNone(t, tree)
}

func TestRemoveLeavesAProcessAlone(t *testing.T) {
	t.Parallel() // it waits for the process to end
	tree, name := newTree(t), parse(t, "hello")
	w := joined(t, tree, name, noLimits)
	began := time.Now()
	err := tree.Remove(name)
	require.Less(t, time.Since(began), 10*patience)
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, fmt.Sprintf("cannot remove cgroup :hello: process %d is in it: ", w.pid))
	require.Equal(t, "here", w.ask("here?"))
	requireIn(t, tree, name, strconv.Itoa(w.pid))
}

func TestSweep(t *testing.T) {
	t.Parallel() // it waits for the process to end
	tree, kept, stale, busy := newTree(t), parse(t, "kept"), parse(t, "stale"), parse(t, "busy")
	w := joined(t, tree, busy, noLimits)
	for _, name := range []messages.Name{kept, stale} {
		require.NoError(t, tree.Create(name, noLimits))
	}
	last := tree.branches[len(tree.branches)-1]
	require.NoError(t, os.Mkdir(last.path(parse(t, "half")), 0o755))
	strange := []string{"strange", "UPPER:case", "a::b"}
	for _, dir := range strange {
		dir := filepath.Join(last.parent, dir)
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	}

	err := tree.Sweep(func(n messages.Name) bool { return n == kept })
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, fmt.Sprintf("cannot remove cgroup :busy: process %d is in it: ", w.pid))
	requireIn(t, tree, busy, strconv.Itoa(w.pid))
	for _, b := range tree.branches {
		require.ElementsMatch(t, []messages.Name{kept, busy}, names(t, b))
	}
	for _, dir := range strange {
		require.DirExists(t, filepath.Join(last.parent, dir))
	}

	require.NoError(t, tree.Sweep(func(n messages.Name) bool { return n == kept || n == busy }))
	w.kill()
	w.reap()
	require.NoError(t, tree.Remove(busy))
	require.NoError(t, tree.Sweep(func(messages.Name) bool { return false }))
	requireNone(t, tree)
}

func TestSweepWithoutTheParent(t *testing.T) {
	tree := newTree(t)
	b := tree.branches[0]
	require.NoError(t, os.Remove(b.parent))
	require.ErrorIs(t, tree.Sweep(nil), os.ErrNotExist)
	require.NoError(t, b.prepare())
}

func TestTreesOfSuccessiveDaemonsAreTheSame(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	w := joined(t, tree, name, Limits{CPUs: []int{0}})
	cpus := w.ask("cpus?")
	again, err := Open(filepath.Base(tree.branches[0].parent))
	require.NoError(t, err)
	require.Equal(t, tree, again)
	requireIn(t, again, name, strconv.Itoa(w.pid))
	require.Equal(t, cpus, w.ask("cpus?"))
	w.kill()
	w.reap()
	require.NoError(t, again.Remove(name))
}

func TestManyAtOnce(t *testing.T) {
	tree := newTree(t)
	errs := make(chan error, 8)
	var all sync.WaitGroup
	for i := range cap(errs) {
		w, name := start(t), parse(t, fmt.Sprintf("u%d", i))
		all.Go(func() {
			for range 5 {
				errs <- errors.Join(tree.Create(name, Limits{Memory: 64 << 20, CPUs: []int{0}}), tree.Remove(name))
			}
			errs <- errors.Join(tree.Create(name, Limits{CPUs: []int{0}}), tree.Join(name, w.pid))
			w.kill()
			errs <- tree.Remove(name)
		})
	}
	go func() { all.Wait(); close(errs) }()
	for err := range errs {
		require.NoError(t, err)
	}
	requireNone(t, tree)
}

// Whatever is done, and whatever crashes leave, each hierarchy has exactly the cgroups that it
// should have.
func TestCgroupsAreThoseThatWereMade(t *testing.T) {
	tree := newTree(t)
	branchOf(t, tree, memory) // Create refuses a limit
	rapid.Check(t, func(t *rapid.T) {
		require.NoError(t, tree.Sweep(func(messages.Name) bool { return false }))
		name := rapid.Custom(func(t *rapid.T) messages.Name {
			n, err := messages.ParseName(rapid.SampledFrom([]string{"a", "b", "a:b", "a:", ".."}).Draw(t, "name"))
			require.NoError(t, err)
			return n
		})
		want := map[messages.Name]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				n := name.Draw(t, "new")
				limits := Limits{Memory: rapid.Int64Range(0, 1<<30).Draw(t, "memory")}
				require.NoError(t, tree.Create(n, limits))
				want[n] = true
			},
			"create and fail": func(t *rapid.T) {
				n := name.Draw(t, "new")
				if !want[n] {
					require.Error(t, tree.Create(n, Limits{Memory: -1}))
				}
			},
			"remove": func(t *rapid.T) {
				n := name.Draw(t, "old")
				require.NoError(t, tree.Remove(n))
				delete(want, n)
			},
			"crash": func(t *rapid.T) {
				n := name.Draw(t, "half")
				if !want[n] {
					require.NoError(t, os.Mkdir(rapid.SampledFrom(tree.branches).Draw(t, "branch").path(n), 0o755))
					require.NoError(t, tree.Sweep(func(n messages.Name) bool { return want[n] }))
				}
			},
			"": func(t *rapid.T) {
				for _, b := range tree.branches {
					got, err := b.names()
					require.NoError(t, err)
					require.Len(t, got, len(want))
					for _, n := range got {
						require.True(t, want[n], n)
					}
				}
			},
		})
	})
}

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/cpulist"
)

func TestWhoWantsMoreMemoryIsKilled(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	b := branchOf(t, tree, memory)
	w := joined(t, tree, name, Limits{Memory: 256 << 20})
	neighbour := joined(t, tree, parse(t, "neighbour"), Limits{Memory: 256 << 20})
	requireOutOfMemory := func(want bool, name messages.Name) {
		t.Helper()
		killed, err := tree.OutOfMemory(name)
		require.NoError(t, err)
		require.Equal(t, want, killed)
	}
	require.Equal(t, "<nil>", w.ask("use 100000000"))
	requireOutOfMemory(false, name)
	require.Empty(t, w.ask("use 1000000000"))
	require.Equal(t, unix.SIGKILL, w.reap())
	events := "memory.oom_control"
	if b.v2 {
		events = "memory.events"
	}
	happened, err := read(b.path(name), events)
	require.NoError(t, err)
	require.Contains(t, strings.Split(happened, "\n"), "oom_kill 1")
	requireOutOfMemory(true, name)
	requireOutOfMemory(false, parse(t, "neighbour"))
	requireOutOfMemory(false, parse(t, "nobody"))
	require.Equal(t, "here", neighbour.ask("here?"))
	require.NoError(t, tree.Remove(name))
	requireOutOfMemory(false, name)
}

// The file of each version, and that of a kernel that is too old to have the line.
func TestWhatTellsOfMemory(t *testing.T) {
	const v1, v2 = "oom_kill_disable 0\nunder_oom 0\n", "low 0\nhigh 3\nmax 5\noom 2\n"
	for text, want := range map[string]bool{
		v2 + "oom_kill 0\noom_group_kill 1\n": false, v2 + "oom_kill 12\noom_group_kill 0\n": true,
		v1 + "oom_kill 0\n": false, v1 + "oom_kill 1\n": true, v1: false, "": false,
	} {
		for file, version2 := range map[string]bool{"memory.events": true, "memory.oom_control": false} {
			b, name := branch{parent: t.TempDir(), v2: version2, controllers: []string{memory}}, parse(t, "hello")
			require.NoError(t, os.Mkdir(b.path(name), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(b.path(name), file), []byte(text), 0o600))
			killed, err := (&Tree{branches: []branch{{controllers: []string{cpuset}}, b}}).OutOfMemory(name)
			require.NoError(t, err)
			require.Equal(t, want, killed, "%q in %s", text, file)
		}
	}
}

func TestMemoryIsLimitedExactly(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	b := branchOf(t, tree, memory)
	want := map[string]string{"memory.limit_in_bytes": "34603008", "memory.memsw.limit_in_bytes": "34603008"}
	if b.v2 {
		want = map[string]string{"memory.max": "34603008", "memory.swap.max": "0"}
	}
	require.NoError(t, tree.Create(name, Limits{Memory: 33 << 20}))
	for file, limit := range want {
		got, err := read(b.path(name), file)
		if strings.Contains(file, "sw") && err != nil {
			continue // this kernel keeps no account of swap
		}
		require.NoError(t, err)
		require.Equal(t, limit, got, file)
	}
}

func TestSwapNeedNotBeLimited(t *testing.T) {
	for _, b := range []branch{{v2: true}, {v2: false}} {
		group := t.TempDir()
		require.ErrorIs(t, b.limitMemory(group, 1<<20), os.ErrNotExist)
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			require.NoError(t, os.WriteFile(filepath.Join(group, file), nil, 0o600))
		}
		require.NoError(t, b.limitMemory(group, 1<<20))
	}
}

// twoCPUs returns two CPUs that can be used. It skips a test if there is only one.
func twoCPUs(t *testing.T, b branch) (one, another int) {
	t.Helper()
	file := "cpuset.effective_cpus"
	if b.v2 {
		file = "cpuset.cpus.effective"
	}
	usable, err := read(b.root, file)
	require.NoError(t, err)
	cpus, err := cpulist.Parse(usable)
	require.NoError(t, err)
	if len(cpus) < 2 {
		t.Skip("needs two CPUs")
	}
	return cpus[0], cpus[1]
}

func TestCPUsAreThoseOfTheCgroup(t *testing.T) {
	tree := newTree(t)
	one, another := twoCPUs(t, branchOf(t, tree, cpuset))
	w := joined(t, tree, parse(t, "hello"), Limits{CPUs: []int{another}})
	require.Equal(t, strconv.Itoa(another), w.ask("cpus?"))
	require.Equal(t, unix.EINVAL.Error(), w.ask(fmt.Sprint("pin ", one)))
	require.Equal(t, strconv.Itoa(another), w.ask("cpus?"))

	w = joined(t, tree, parse(t, "both"), Limits{CPUs: []int{one, another}})
	require.Equal(t, "<nil>", w.ask(fmt.Sprint("pin ", one)))
	require.Equal(t, strconv.Itoa(one), w.ask("cpus?"))
}

// A launcher may have set its CPUs before.
func TestJoinKeepsAPin(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	one, another := twoCPUs(t, branchOf(t, tree, cpuset))
	require.NoError(t, tree.Create(name, Limits{CPUs: []int{another}}))
	w := start(t)
	require.Equal(t, "<nil>", w.ask(fmt.Sprint("pin ", another)))
	require.NoError(t, tree.Join(name, w.pid))
	require.Equal(t, strconv.Itoa(another), w.ask("cpus?"))
	require.Equal(t, unix.EINVAL.Error(), w.ask(fmt.Sprint("pin ", one)))
}

func TestLimitsThatCannotBe(t *testing.T) {
	tree := newTree(t)
	for _, test := range []struct {
		limits     Limits
		controller string
		want       string
	}{
		{Limits{Memory: -1}, memory, "internal error: a limit of -1 bytes"},
		{Limits{CPUs: []int{9000}}, cpuset, "there is no CPU 9000 to use, only 0"},
		{Limits{CPUs: []int{0, 9000, 1 << 40}}, cpuset, "there is no CPU 9000,1099511627776 to use, only 0"},
		{Limits{CPUs: []int{-1}}, cpuset, "there is no CPU -1 to use, only 0"},
	} {
		t.Run(fmt.Sprint(test.limits), func(t *testing.T) {
			branchOf(t, tree, test.controller)
			require.ErrorContains(t, tree.Create(parse(t, "hello"), test.limits), "cannot make cgroup :hello: "+test.want)
			requireNone(t, tree)
		})
	}
}

// A cgroup of version 1 loses a CPU that goes offline, and does not get it back by itself.
func TestParentThatLacksACPU(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	b := branchOf(t, tree, cpuset)
	one, another := twoCPUs(t, b)
	require.NoError(t, write(b.parent, "cpuset.cpus", strconv.Itoa(one)))
	err := tree.Create(name, Limits{CPUs: []int{another}})
	if b.v2 { // version 2 gives it back by itself, so an operator must have taken it away
		require.ErrorContains(t, err, fmt.Sprintf("there is no CPU %d to use, only %d", another, one))
	} else {
		require.NoError(t, err)
	}
}

func TestOneControllerIsEnough(t *testing.T) {
	for _, controller := range []string{memory, cpuset} {
		t.Run(controller, func(t *testing.T) {
			tree := newTreeIn(t, only(t, controller))
			require.Len(t, tree.branches, 1)
			require.Equal(t, []string{controller}, tree.branches[0].controllers)
			w := joined(t, tree, parse(t, "hello"), Limits{Memory: 256 << 20, CPUs: []int{0}})
			if controller == memory {
				require.Empty(t, w.ask("use 1000000000"))
				return
			}
			require.Equal(t, "<nil>", w.ask("use 300000000"))
			require.Equal(t, "0", w.ask("cpus?"))
		})
	}
}

func TestTimeIsLimitedWhereCPUsCannotBe(t *testing.T) {
	tree := newTreeIn(t, only(t, cpu))
	b, free, limited := tree.branches[0], parse(t, "free"), parse(t, "limited")
	file, unlimited, two := "cpu.cfs_quota_us", "-1", "200000"
	if b.v2 {
		file, unlimited, two = "cpu.max", "max 100000", "200000 100000"
	}
	joined(t, tree, free, noLimits)
	joined(t, tree, limited, Limits{CPUs: []int{0, 3}})
	got, err := read(b.path(free), file)
	require.NoError(t, err)
	require.Equal(t, unlimited, got)
	got, err = read(b.path(limited), file)
	require.NoError(t, err)
	require.Equal(t, two, got)
}

// only returns the hierarchies with one controller, as if there were no others. It skips a test if
// there is no such hierarchy.
func only(t *testing.T, controller string) (some []mount) {
	t.Helper()
	for _, m := range usable(t) {
		if slices.Contains(m.controllers, controller) {
			if controller != cpuset && !m.v2 && slices.Contains(m.controllers, cpuset) {
				t.Skip("needs a hierarchy without cpuset, which could not be left out")
			}
			m.controllers = []string{controller}
			some = append(some, m)
		}
	}
	if some == nil {
		t.Skipf("needs the controller %s", controller)
	}
	return some
}

package cgroup

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// TestEntrance: a thread that goes in, and processes that it starts, are in the cgroup. The other
// tests move processes by Join.
func TestEntrance(t *testing.T) {
	tree, name := newTree(t), parse(t, "a:hello")
	require.NoError(t, tree.Create(name, noLimits))
	e := tree.Entrance(name)
	w := start(t)
	for _, file := range e.Tasks {
		require.Equal(t, "<nil>", w.ask("enter "+file))
	}
	for _, b := range tree.branches {
		if !b.v2 {
			require.Equal(t, b.path(name)[len(b.root):], w.ask("where? "+b.controllers[0]))
		}
	}
	if e.Dir != "" {
		requireBornIn(t, tree, name, e.Dir)
	}
}

func requireBornIn(t *testing.T, tree *Tree, name messages.Name, dir string) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	c := exec.Command("/proc/self/exe", "worker")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	in, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	for _, b := range tree.branches {
		if b.v2 {
			require.Equal(t, b.path(name)[len(b.root):], group(t, b, strconv.Itoa(c.Process.Pid)))
		}
	}
	require.NoError(t, in.Close())
	require.NoError(t, c.Wait())
}

func TestCloseLeavesWhatIsUsed(t *testing.T) {
	tree, name := newTree(t), parse(t, "hello")
	require.NoError(t, tree.Create(name, noLimits))
	require.NoError(t, tree.Close())
	for _, b := range tree.branches {
		require.DirExists(t, b.path(name))
	}
	require.NoError(t, tree.Remove(name))
	require.NoError(t, tree.Close())
	for _, b := range tree.branches {
		require.NoDirExists(t, b.parent)
	}
	require.NoError(t, tree.Close(), "gone already")
	for _, b := range tree.branches {
		require.NoError(t, b.prepare())
	}
}

// Join moves a process with all its threads into a cgroup. Limits apply to what it uses from then
// on, so it should not have become a tender yet. It must not have been reaped, else its pid may be
// that of another process. After an error it may be in the cgroup all the same.
//
// It takes up to some 20 ms: the kernel waits until it can stop all forks of the machine for a
// moment.
func (t *Tree) Join(name messages.Name, pid int) error {
	if pid <= 0 {
		return fmt.Errorf("internal error: process %d cannot join a cgroup", pid) // 0 would be this process
	}
	for _, b := range t.branches {
		if err := b.join(name, pid); err != nil {
			return fmt.Errorf("cannot move process %d to cgroup %s: %w", pid, name, err)
		}
	}
	return nil
}

func (b branch) join(name messages.Name, pid int) error {
	return write(b.path(name), "cgroup.procs", strconv.Itoa(pid))
}

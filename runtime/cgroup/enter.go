package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// An Entrance describes how a new process enters a cgroup by itself, which costs next to
// nothing. To move another process, the kernel waits until it can stop all forks of the
// machine for a moment: up to some 20 ms.
//
// Limits apply to what a process uses afterwards, so it should enter before it becomes a
// tender.
type Entrance struct {
	Tasks []string // version 1: files to which its main thread writes 0
	Dir   string   // version 2: the cgroup to create it in; empty: none
}

// Entrance returns that of the cgroup of a unikernel.
func (t *Tree) Entrance(name messages.Name) (e Entrance) {
	for _, b := range t.branches {
		if b.v2 {
			e.Dir = b.path(name)
		} else {
			e.Tasks = append(e.Tasks, filepath.Join(b.path(name), "tasks"))
		}
	}
	return e
}

// Dirs returns the directories of the cgroup of a unikernel, and then their parents.
func (t *Tree) Dirs(name messages.Name) (dirs []string) {
	for _, b := range t.branches {
		dirs = append(dirs, b.path(name))
	}
	for _, b := range t.branches {
		dirs = append(dirs, b.parent)
	}
	return dirs
}

// Close removes the parent, unless it contains cgroups of unikernels.
func (t *Tree) Close() error {
	for _, b := range t.branches {
		err := os.Remove(b.parent)
		if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot remove cgroup %s: %w", b.parent, err)
		}
	}
	return nil
}

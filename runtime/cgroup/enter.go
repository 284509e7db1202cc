package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// An Entrance is how a new process gets into a cgroup by itself, which costs next
// to nothing. To move a process that is there, the kernel waits until it can
// stop all forks of the machine for a moment: up to some 20 ms.
//
// Limits are for what a process uses from then on, so it should not have become
// a tender yet.
type Entrance struct {
	Tasks []string // version 1: files that its main thread writes 0 to
	Dir   string   // version 2: the cgroup that it is to be born in; empty: none
}

// Entrance is that of the cgroup of a unikernel.
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

// Close removes the parent, unless there are unikernels in it.
func (t *Tree) Close() error {
	for _, b := range t.branches {
		err := os.Remove(b.parent)
		if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot remove cgroup %s: %w", b.parent, err)
		}
	}
	return nil
}

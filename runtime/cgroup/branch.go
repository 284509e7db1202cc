package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A branch is the part of a Tree that is in one hierarchy.
type branch struct {
	root        string // directory of the hierarchy
	parent      string // directory of our cgroups
	v2          bool
	controllers []string // that we use of it, at least one
}

// prepare makes the parent, where cgroups can be made that have limits.
func (b branch) prepare() error {
	if err := b.enable(b.root); err != nil {
		return err
	}
	if err := os.Mkdir(b.parent, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	failpoint.Here("cgroup/parent-made")
	if err := unix.Access(b.parent, unix.W_OK); err != nil { // one from before tells nothing
		return fmt.Errorf("cannot write %s: %w", b.parent, err)
	}
	return b.enable(b.parent)
}

// enable lets what is below a directory have limits. Version 1 needs nothing
// for that. What the parent has enabled nobody can disable in the root, not even
// a service manager that sees no use for it.
func (b branch) enable(dir string) error {
	if !b.v2 {
		return nil
	}
	return write(dir, "cgroup.subtree_control", "+"+strings.Join(b.controllers, " +"))
}

func (b branch) path(name messages.Name) string { return filepath.Join(b.parent, name.String()) }

// create makes a cgroup, or makes it anew: so nothing of what it was before
// matters.
func (b branch) create(name messages.Name, limits Limits, end time.Time) error {
	if err := errors.Join(b.remove(name, end), b.inherit()); err != nil {
		return err
	}
	if err := os.Mkdir(b.path(name), 0o755); err != nil {
		return err
	}
	failpoint.Here("cgroup/made")
	if err := b.limit(name, limits); err != nil {
		return errors.Join(err, b.remove(name, end))
	}
	failpoint.Here("cgroup/limited")
	return nil
}

const (
	// patience is for a process that has ended: it need not have been reaped, but
	// some kernels (Linux 6.19) tell of its end before they have taken it out of
	// its cgroup. That was up to 0.1 s where CPUs were scarce.
	patience = 2 * time.Second
	// pause is how often to look: most of the time once is enough.
	pause = time.Millisecond
)

// remove removes a cgroup if it is there and no process is in it any more by
// then.
func (b branch) remove(name messages.Name, end time.Time) error {
	for {
		err := os.Remove(b.path(name))
		failpoint.Here("cgroup/removed")
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return err
		case time.Now().After(end):
			return b.busy(name)
		}
		time.Sleep(pause)
	}
}

// busy tells by whom: one process will do.
func (b branch) busy(name messages.Name) error {
	pids, err := os.ReadFile(filepath.Join(b.path(name), "cgroup.procs"))
	if err != nil || len(pids) == 0 {
		return unix.EBUSY // by one that is ending, or by what is below it
	}
	pid, _, _ := bytes.Cut(pids, []byte("\n"))
	return fmt.Errorf("process %s is in it: %w", pid, unix.EBUSY)
}

// names are those of all cgroups.
func (b branch) names() (names []messages.Name, err error) {
	entries, err := os.ReadDir(b.parent)
	for _, e := range entries {
		name, err := messages.ParseName(e.Name())
		if err == nil && name.String() == e.Name() {
			names = append(names, name)
		}
	}
	return names, err
}

// write sets a file of a cgroup. It is never made: in a cgroup it is there, and
// elsewhere it must not be.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // each write is complete in itself
	if _, err = f.WriteString(value); err != nil {
		return fmt.Errorf("cannot set %q: %w", value, err)
	}
	return nil
}

// read is the one line that a file of a cgroup has.
func read(dir, file string) (string, error) {
	line, err := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimSpace(string(line)), err
}

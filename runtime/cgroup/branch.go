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

// prepare makes the parent, if limits are possible there.
func (b branch) prepare() error {
	if err := b.enable(b.root); err != nil {
		return err
	}
	if err := os.Mkdir(b.parent, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	failpoint.Here("cgroup/parent-made")
	if err := unix.Access(b.parent, unix.W_OK); err != nil { // an existing one proves nothing
		return fmt.Errorf("cannot write %s: %w", b.parent, err)
	}
	return b.enable(b.parent)
}

// enable delegates the controllers to the children of a directory. Version 1 needs
// nothing for that. While the parent has them enabled, nobody can disable them in the
// root, not even a service manager that does not use them.
func (b branch) enable(dir string) error {
	if !b.v2 {
		return nil
	}
	return write(dir, "cgroup.subtree_control", "+"+strings.Join(b.controllers, " +"))
}

func (b branch) path(name messages.Name) string { return filepath.Join(b.parent, name.String()) }

// create makes a cgroup, and replaces an existing one, so that no former state matters.
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
	// patience bounds the wait for a process that has ended. It need not have been
	// reaped, but some kernels (Linux 6.19) report its end before they take it out of its
	// cgroup: up to 0.1 s later when CPUs were scarce. A launcher whose daemon was killed
	// ends by itself, once it gets a CPU: after more than 2 s at a load of 20.
	patience = 5 * time.Second
	// pause is the polling interval; most of the time one look is enough.
	pause = time.Millisecond
)

// remove removes a cgroup if it exists, once its last process has left, until end.
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

// busy returns an error that names one process in the cgroup.
func (b branch) busy(name messages.Name) error {
	pids, err := os.ReadFile(filepath.Join(b.path(name), "cgroup.procs"))
	if err != nil || len(pids) == 0 {
		return unix.EBUSY // by one that is ending, or by what is below it
	}
	pid, _, _ := bytes.Cut(pids, []byte("\n"))
	return fmt.Errorf("process %s is in it: %w", pid, unix.EBUSY)
}

// names returns those of all cgroups.
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

// write sets a file of a cgroup. It never creates the file: it exists in every cgroup,
// and must not exist elsewhere.
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

// read returns the first line of a file of a cgroup.
func read(dir, file string) (string, error) {
	line, err := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimSpace(string(line)), err
}

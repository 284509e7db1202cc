// Package cgroup owns the cgroups of unikernels: one each, which limits its
// memory and its CPUs.
//
// All are below one parent at the root of each hierarchy, and not below the daemon's own
// cgroup: a unikernel outlives the daemon, so what ends or limits the daemon's service
// must not reach it. Version 1 of cgroups has a hierarchy for each controller, version 2
// has one for all, and a machine may use both, with some controllers in each.
//
// The name of a cgroup is that of its unikernel, which always contains a ':'. So it can
// be found after a crash, and differs from all files that the kernel puts into a cgroup.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// Limits bound what the processes of a cgroup may use together.
type Limits struct {
	// Memory is in bytes; 0: any. It covers everything: tender and kernel need memory in
	// addition to that of the guest; the kernel drops cached files when memory gets
	// short. Swap does not extend it. The kernel kills a process that exceeds it with
	// SIGKILL.
	Memory int64
	// CPUs are those to run on; none: any.
	CPUs []int
}

// A Tree holds the cgroups of one daemon. Its methods may be called concurrently, but
// only one at a time for the same name.
type Tree struct {
	branches []branch // at least one
}

var errNone = errors.New("no controller of memory or CPUs is mounted, or only a part of its hierarchy")

// CheckParent returns why a name cannot be that of a parent, below which Sweep may remove
// unknown cgroups. A name has one element or several, such as "a/b".
func CheckParent(name string) error {
	for step := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if step == "" || step == "." || step == ".." || len(step) > maxStep {
			return fmt.Errorf("%q cannot be the name of a cgroup: each of its steps is a name of 1 to %d bytes", name, maxStep)
		}
	}
	return nil
}

// maxStep is the longest file name, and so the longest element of a cgroup's path.
const maxStep = 255

// Open finds the controllers of this machine and makes the parent of all cgroups, such as
// "albatross". What exists below it stays as it is.
//
// It uses memory, cpuset, or both. Without cpuset, cpu limits the time that a unikernel
// uses on all CPUs together, to that of as many CPUs as it asks for.
//
// The error says why no cgroups can be used: no hierarchy is mounted, or it must not be
// written, as in most containers.
func Open(parent string) (*Tree, error) {
	mounts, err := findMounts()
	if err == nil {
		var t *Tree
		if t, err = open(mounts, parent); err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("cannot use cgroups: %w", err)
}

// Possible returns why Open would fail on this machine, as far as can be known without making
// anything.
func Possible() error {
	mounts, err := findMounts()
	if err != nil {
		return fmt.Errorf("cannot use cgroups: %w", err)
	}
	branches := choose(mounts, "albatross")
	if len(branches) == 0 {
		return fmt.Errorf("cannot use cgroups: %w", errNone)
	}
	for _, b := range branches {
		if err := unix.Access(b.root, unix.W_OK); err != nil {
			return fmt.Errorf("cannot use cgroups: cannot write to %s: %w", b.root, err)
		}
	}
	return nil
}

func open(mounts []mount, parent string) (*Tree, error) {
	t := &Tree{choose(mounts, parent)}
	if len(t.branches) == 0 {
		return nil, errNone
	}
	for i, b := range t.branches {
		if err := b.prepare(); err != nil {
			for _, made := range t.branches[:i+1] {
				_ = os.Remove(made.parent) // fails if it is in use, or was not made
			}
			return nil, err
		}
	}
	return t, nil
}

// Create makes the cgroup of a unikernel. It replaces an existing one whose process has
// ended, and returns unix.EBUSY if a process is in it. After an error it leaves no new
// cgroup.
func (t *Tree) Create(name messages.Name, limits Limits) error {
	end := time.Now().Add(patience)
	for i, b := range t.branches {
		if err := b.create(name, limits, end); err != nil {
			for _, made := range t.branches[:i] {
				err = errors.Join(err, made.remove(name, end))
			}
			return fmt.Errorf("cannot make cgroup %s: %w", name, err)
		}
	}
	return nil
}

// Remove removes the cgroup of a unikernel whose process has ended; one that is gone
// already is no error. It returns unix.EBUSY if a process is in it.
func (t *Tree) Remove(name messages.Name) error {
	end := time.Now().Add(patience)
	var failed error
	for _, b := range t.branches {
		failed = errors.Join(failed, b.remove(name, end))
	}
	if failed != nil {
		return fmt.Errorf("cannot remove cgroup %s: %w", name, failed)
	}
	return nil
}

// OutOfMemory reports whether the kernel has killed a process in the cgroup of a
// unikernel because the cgroup, or the machine, had no memory left. It returns false if
// the cgroup is gone.
func (t *Tree) OutOfMemory(name messages.Name) (bool, error) {
	for _, b := range t.branches {
		if !slices.Contains(b.controllers, memory) {
			continue
		}
		killed, err := b.outOfMemory(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("cannot find out whether cgroup %s was out of memory: %w", name, err)
		}
		return killed, nil
	}
	return false, nil
}

// Sweep removes the cgroups that keep does not name. It goes on after an error;
// unix.EBUSY says that a cgroup stays because a process is in it. A directory whose name
// no unikernel can have is not ours, and stays.
func (t *Tree) Sweep(keep func(messages.Name) bool) error {
	end := time.Now().Add(patience)
	var failed error
	for _, b := range t.branches {
		names, err := b.names()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot look for cgroups: %w", err))
		}
		for _, name := range names {
			if keep(name) {
				continue
			}
			if err := b.remove(name, end); err != nil {
				failed = errors.Join(failed, fmt.Errorf("cannot remove cgroup %s: %w", name, err))
			}
		}
	}
	return failed
}

// Package cgroup owns the cgroups of unikernels: one each, which limits its
// memory and its CPUs.
//
// They are below one parent at the root of each hierarchy, and not below the
// daemon's own cgroup: a unikernel outlives the daemon, so what ends or limits
// the daemon's service must not reach it. Version 1 of cgroups has a hierarchy
// for each controller, version 2 has one for all, and a machine may have some
// controllers in this and some in that.
//
// A cgroup has the name of its unikernel, which always has a ':' in it: it can
// be found after a crash, and no file that the kernel has in a cgroup is called
// like that.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"albatross/messages"
)

// Limits are what the processes of a cgroup may use together.
type Limits struct {
	// Memory is in bytes; 0: any. It is for all of it: a tender and what the
	// kernel needs for it come on top of the memory of the guest, while the
	// files it reads are forgotten when memory gets short. Swap is not to be had
	// on top of it. Who wants more is killed with SIGKILL.
	Memory int64
	// CPUs are those to run on; none: any.
	CPUs []int
}

// A Tree is the cgroups of one daemon. Its methods may be called concurrently,
// but for one name only one at a time.
type Tree struct {
	branches []branch // at least one
}

var errNone = errors.New("no controller of memory or CPUs is mounted, or only a part of its hierarchy")

// CheckParent says why a name cannot be that of a parent, in which Sweep may
// remove what it does not know. It is one step or several, such as "a/b".
func CheckParent(name string) error {
	for step := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if step == "" || step == "." || step == ".." || len(step) > maxStep {
			return fmt.Errorf("%q cannot be the name of a cgroup: each of its steps is a name of 1 to %d bytes", name, maxStep)
		}
	}
	return nil
}

// maxStep is the longest name of a file, which a cgroup is.
const maxStep = 255

// Open finds the controllers of this machine and makes the parent, such as
// "albatross", of all cgroups. What is below it already stays as it is.
//
// It uses what is there: memory, cpuset, or both. Where there is no cpuset, cpu
// limits how much time on all CPUs together a unikernel has instead, which is
// that of as many as were asked for.
//
// The error says why there are no cgroups that can be used: nothing is mounted,
// or something is and must not be written, as in most containers.
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

func open(mounts []mount, parent string) (*Tree, error) {
	t := &Tree{choose(mounts, parent)}
	if len(t.branches) == 0 {
		return nil, errNone
	}
	for i, b := range t.branches {
		if err := b.prepare(); err != nil {
			for _, made := range t.branches[:i+1] {
				_ = os.Remove(made.parent) // fails where it is in use, or was not made
			}
			return nil, err
		}
	}
	return t, nil
}

// Create makes the cgroup of a unikernel. One that is there, and whose process
// has ended, is replaced; unix.EBUSY says that there is a process in it. After
// an error there is none that was not there before.
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

// Remove removes the cgroup of a unikernel whose process has ended; that it is
// gone already is fine. unix.EBUSY says that there is a process in it.
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

// OutOfMemory tells whether the kernel has killed a process of the cgroup of a
// unikernel because that, or the machine, had no memory left. Where there is no
// cgroup any more, it has not as far as is known.
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

// Sweep removes the cgroups that are not to be kept. It goes on after an error;
// unix.EBUSY says that there is a process in one, which is left to it. What is
// there under a name that no unikernel can have is not ours, and stays.
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

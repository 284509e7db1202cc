package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"albatross/messages"
	"albatross/runtime/cpulist"
)

// The controllers that we use.
const (
	memory = "memory"
	cpuset = "cpuset"
	cpu    = "cpu" // without cpuset
)

// limit sets the limits of a new cgroup.
func (b branch) limit(name messages.Name, limits Limits) error {
	group := b.path(name)
	for _, controller := range b.controllers {
		var err error
		switch controller {
		case memory:
			err = b.limitMemory(group, limits.Memory)
		case cpuset:
			err = b.limitCPUs(group, limits.CPUs)
		case cpu:
			err = b.limitTime(group, len(limits.CPUs))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// limitMemory limits memory, and swap if the kernel accounts for it.
func (b branch) limitMemory(group string, size int64) error {
	if size < 0 {
		return fmt.Errorf("internal error: a limit of %d bytes", size)
	}
	if size == 0 {
		return nil
	}
	file, swapFile, swap := "memory.max", "memory.swap.max", int64(0)
	if !b.v2 { // whose second limit covers memory and swap together
		file, swapFile, swap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", size
	}
	if err := write(group, file, strconv.FormatInt(size, 10)); err != nil {
		return err
	}
	err := write(group, swapFile, strconv.FormatInt(swap, 10))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// outOfMemory reports whether the kernel has killed a process of a cgroup because the
// cgroup, or the machine, had no memory left.
func (b branch) outOfMemory(name messages.Name) (bool, error) {
	file := "memory.events"
	if !b.v2 {
		file = "memory.oom_control"
	}
	events, err := read(b.path(name), file)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(events) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return count != "0", nil
		}
	}
	return false, nil // before Linux 4.13
}

// limitCPUs sets the CPUs to run on, and checks them first: version 1 does not report
// which are wrong, and version 2 accepts any, and lets a cgroup run anywhere if none of
// its CPUs exists.
func (b branch) limitCPUs(group string, cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	file := "cpuset.cpus"
	if b.v2 {
		file = "cpuset.cpus.effective"
	}
	usable, err := read(b.parent, file)
	if err != nil {
		return err
	}
	there, err := cpulist.Parse(usable)
	if err != nil {
		return fmt.Errorf("cannot understand %s: %w", file, err)
	}
	if missing := cpulist.Missing(cpus, there); missing != nil {
		return fmt.Errorf("there is no CPU %s to use, only %s", cpulist.Format(missing), usable)
	}
	return write(group, "cpuset.cpus", cpulist.Format(cpus))
}

// inherit copies the settings of the root to the parent, and makes new cgroups below it
// copy those of the parent. Version 1 needs this: a cpuset starts empty, so that no
// process can join it, and a parent lacks a CPU that was offline for a while.
func (b branch) inherit() error {
	if b.v2 || !slices.Contains(b.controllers, cpuset) {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := read(b.root, file)
		if err != nil {
			return err
		}
		if err := write(b.parent, file, all); err != nil {
			return err
		}
	}
	return write(b.parent, "cgroup.clone_children", "1")
}

// cpuPeriod is in microseconds: the default of version 1.
const cpuPeriod = 100_000

// limitTime limits the time used on all CPUs to that of so many CPUs.
func (b branch) limitTime(group string, cpus int) error {
	if cpus == 0 {
		return nil
	}
	if b.v2 {
		return write(group, "cpu.max", fmt.Sprintf("%d %d", cpus*cpuPeriod, cpuPeriod))
	}
	return write(group, "cpu.cfs_quota_us", strconv.Itoa(cpus*cpuPeriod))
}

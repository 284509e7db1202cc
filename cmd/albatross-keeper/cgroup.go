package main

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/failpoint"
)

// Some kernels take a process out of its cgroup a moment after its end.
const (
	removeTries      = 3
	removeAgainAfter = 200 * time.Millisecond
)

// openKills opens the file of a unikernel's cgroup that counts kills for lack of memory: that
// of version 2, or of version 1. It returns -1 if there is none.
func openKills(name string, dirs []string) int {
	for _, dir := range dirs {
		if filepath.Base(dir) != name {
			continue // a parent, which counts those of other unikernels, too
		}
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			if fd, err := unix.Open(filepath.Join(dir, file), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				return fd
			}
		}
	}
	return -1
}

// alone reports whether no daemon runs, in this turn of the loop: until its end, none can get
// the claim.
func (k *keeper) alone() bool { return k.daemon == nil && k.mayRead() }

// removeDirs removes the cgroups of an ended process, if no daemon does.
func (k *keeper) removeDirs(c *child) {
	if c.end != nil && k.alone() {
		k.tryRemoving(c.dirs, removeTries)
	}
}

// tryRemoving removes empty cgroups, innermost first. One that is not empty stays: another
// process uses it. This happens in the loop, so that no daemon makes them again meanwhile.
func (k *keeper) tryRemoving(dirs []string, tries int) {
	if tries == 0 || !k.alone() {
		return
	}
	var left []string
	for _, dir := range dirs {
		if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
			left = append(left, dir)
		}
	}
	failpoint.Here("keeper/cgroups-removed")
	if len(left) > 0 {
		k.after(removeAgainAfter, func() { k.tryRemoving(left, tries-1) })
	}
}

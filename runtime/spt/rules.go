package spt

import (
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/seccomp"
	"albatross/runtime/solo5"
)

// rules lists what a guest may do; the frequent calls come first.
func rules(devices []solo5.Device) []seccomp.Rule {
	r := []seccomp.Rule{
		seccomp.Allow(unix.SYS_EPOLL_PWAIT, seccomp.Is(0, fdEpoll)),
		seccomp.Allow(unix.SYS_TIMERFD_SETTIME, seccomp.Is(0, fdTimer)),
		seccomp.Allow(unix.SYS_CLOCK_GETTIME, seccomp.Is(0, unix.CLOCK_MONOTONIC)),
		seccomp.Allow(unix.SYS_CLOCK_GETTIME, seccomp.Is(0, unix.CLOCK_REALTIME)),
	}
	for i, d := range devices {
		r = append(r, deviceRules(d, uint64(fdDevices+i))...)
	}
	r = append(r, seccomp.Allow(unix.SYS_WRITE, seccomp.Is(0, fdConsole)), seccomp.Allow(unix.SYS_EXIT_GROUP))
	return append(r, seccomp.ThreadPointer()...)
}

// deviceRules allow a guest to use a device at a descriptor. A block device is read and
// written by whole sectors and up to its end only: beyond it, the guest would make the
// file grow.
func deviceRules(d solo5.Device, fd uint64) []seccomp.Rule {
	this := seccomp.Is(0, fd)
	if d.Kind == image.Net {
		return []seccomp.Rule{seccomp.Allow(unix.SYS_READ, this), seccomp.Allow(unix.SYS_WRITE, this)}
	}
	size := uint64(d.SectorSize)
	sector := []seccomp.Condition{this, seccomp.Is(2, size), seccomp.AtMost(3, d.Capacity-size)}
	return []seccomp.Rule{seccomp.Allow(unix.SYS_PREAD64, sector...), seccomp.Allow(unix.SYS_PWRITE64, sector...)}
}

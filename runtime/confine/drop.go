package confine

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// DropBounding removes all but a few from the bounding set of this thread, and empties its
// ambient set: what it executes gets no other capability, not even as root. Without the
// privilege to do so, it keeps them.
func DropBounding(keep ...uintptr) error {
	if unix.Geteuid() != 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	for n := uintptr(0); ; n++ {
		if slices.Contains(keep, n) {
			continue
		}
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err {
		case nil:
		case unix.EINVAL, unix.EPERM: // there are no more, or we may not
			return nil
		default:
			return err
		}
	}
}

// dropCapabilities drops those of this user.
func dropCapabilities(call caller) error { return setCapabilities(call, 0) }

// A caller makes a system call on one thread or on all.
type caller func(call, a, b, c uintptr) error

func thisThread(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// allThreads is thisThread in a program with cgo, where Go cannot do more. A tender has none,
// except in tests with the race detector.
func allThreads(call, a, b, c uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(call, a, b, c)
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP:
		return thisThread(call, a, b, c)
	}
	return errno
}

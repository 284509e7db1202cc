package confine

import (
	"runtime"
	"slices"
	"syscall"
	"unsafe"

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
func dropCapabilities(call caller) error {
	var none [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	err := call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&none)
	return err
}

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

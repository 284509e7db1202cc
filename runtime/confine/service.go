package confine

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/runtime/landlock"
)

// A Service says what a process gives up that serves guests, and is no tender: it uses the
// network of the machine, and nothing else that it has not opened.
type Service struct {
	Root string // a directory that has nothing in it, and becomes its root if root has started it
	Keep []int  // capabilities that it keeps if root has started it
}

// Enter gives up everything else, in all threads, and for good: new privileges, core files, the
// file system, and, if root has started the process, its user, groups and capabilities. Nobody
// but root may look into its memory. What a kernel or a container does not allow is missing,
// and the process goes on without it.
func (s Service) Enter() (missing []string, err error) {
	// Where there is cgo, Go cannot do so for other threads, which would keep all that they have.
	switch _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno {
	case 0:
	case unix.ENOTSUP:
		return nil, errors.New("the program was built with cgo: build it with CGO_ENABLED=0, as make does")
	default:
		return nil, errno
	}
	if err := refuseCore(); err != nil {
		return nil, err
	}
	raiseOOMScore()
	if unix.Geteuid() == 0 {
		if missing, err = s.leaveRoot(); err != nil {
			return nil, fmt.Errorf("cannot give up the privileges of root: %w", err)
		}
	}
	if err := landlock.Restrict(landlock.Others); err != nil {
		return nil, err
	}
	return missing, unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// leaveRoot changes the root directory and becomes a user of its own, as far as that is possible,
// and keeps some capabilities.
func (s Service) leaveRoot() (missing []string, err error) {
	have, err := Effective()
	if err != nil {
		return nil, err
	}
	user := checkUser(have)
	if err := checkRoot(s.Root, have); err != nil {
		missing = append(missing, fmt.Sprintf("it keeps the root directory: %v", err))
	} else if err := changeRoot(s.Root); err != nil {
		return nil, err
	}
	if user != nil {
		missing = append(missing, fmt.Sprintf("it is no user of its own: %v", user))
	} else if err := becomeOwnWith(allThreads); err != nil {
		return nil, err
	}
	var keep Capabilities
	for _, n := range s.Keep {
		keep |= have & (1 << n)
	}
	return missing, setCapabilities(allThreads, keep)
}

// becomeOwnWith is becomeOwn with the capabilities that the process has.
func becomeOwnWith(call caller) error {
	if err := call(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return err
	}
	return becomeOwn(call)
}

// setCapabilities gives up all others.
func setCapabilities(call caller, keep Capabilities) error {
	var sets [2]unix.CapUserData
	for i := range sets {
		part := uint32(keep >> (32 * i))
		sets[i] = unix.CapUserData{Effective: part, Permitted: part}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	err := call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&sets)
	return err
}

package spt

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/runtime/landlock"
)

// Exec turns the calling process into the guest, under the same pid. The
// arguments are for ps only; the environment is empty, since the guest could
// read it. It returns only if that failed.
func (g *Guest) Exec(arguments []string) error {
	if err := g.place(); err != nil {
		return fmt.Errorf("cannot place descriptors: %w", err)
	}
	argv, err := cStrings(arguments)
	if err != nil {
		return fmt.Errorf("cannot pass arguments: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot give up new privileges: %w", err)
	}
	if err := landlock.RestrictThread(0); err != nil { // the executable is in no file system
		return fmt.Errorf("cannot confine guest: %w", err)
	}
	environment := []*byte{nil}
	empty := []byte{0}
	// execveat takes the executable by its descriptor, and needs no file system, also not
	// /proc.
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(g.executable),
		uintptr(unsafe.Pointer(&empty[0])), uintptr(unsafe.Pointer(&argv[0])),
		uintptr(unsafe.Pointer(&environment[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("cannot execute guest: %w", errno)
}

func cStrings(arguments []string) ([]*byte, error) {
	list := make([]*byte, 0, len(arguments)+1)
	for _, a := range arguments {
		p, err := unix.BytePtrFromString(a)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return append(list, nil), nil
}

// place moves the descriptors to the numbers that the guest expects, in two steps: a
// target may be the number of one that has not been moved yet. The exec closes all but
// the last copies.
func (g *Guest) place() error {
	fds := g.Descriptors()
	above := fdEpoll + len(fds)
	for i, fd := range append(fds, g.executable) {
		moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, above)
		if err != nil {
			return err
		}
		if i == len(fds) {
			g.executable = moved
		} else {
			fds[i] = moved
		}
	}
	for i, fd := range fds {
		if err := unix.Dup3(fd, fdEpoll+i, 0); err != nil {
			return err
		}
	}
	return nil
}

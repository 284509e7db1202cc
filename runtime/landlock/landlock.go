// Package landlock takes the file system from this process, by the Linux security module of
// that name: what is not allowed by a path is refused, whatever user the process has. What
// is open already stays usable. A kernel without Landlock changes nothing.
package landlock

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Access is what may be done with a file, or with what is below a directory.
type Access uint64

const (
	Execute Access = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	Read    Access = unix.LANDLOCK_ACCESS_FS_READ_FILE
	List    Access = unix.LANDLOCK_ACCESS_FS_READ_DIR
	Write   Access = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	Device  Access = Write | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	Make    Access = unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// A Rule allows something. Exactly one of Path and File says where.
type Rule struct {
	Path  string // one that does not exist allows nothing
	File  int    // a descriptor, if there is no path
	Allow Access
}

// A Scope is what else is refused, where the kernel can.
type Scope uint64

const (
	// Network refuses to listen and to connect by TCP.
	Network Scope = 1 << iota
	// Others refuses signals to processes outside, and to connect to their abstract sockets.
	Others
)

// The versions of Landlock, by what they can refuse first.
const (
	sinceRefer    = 2
	sinceTruncate = 3
	sinceTCP      = 4
	sinceIoctl    = 5
	sinceScope    = 6
)

// Version returns the version of Landlock of this kernel; 0: there is none, or it is off.
func Version() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// attributes is struct landlock_ruleset_attr.
type attributes struct{ files, network, scope uint64 }

// all returns everything that a version can refuse within a scope.
func all(version int, scope Scope) attributes {
	a := attributes{files: 1<<13 - 1}
	if version >= sinceRefer {
		a.files |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= sinceTruncate {
		a.files |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= sinceIoctl {
		a.files |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= sinceTCP && scope&Network != 0 {
		a.network = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= sinceScope && scope&Others != 0 {
		a.scope = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return a
}

// RestrictThread refuses this thread, and what it executes, all that no rule allows. It must
// have no new privileges.
func RestrictThread(scope Scope, rules ...Rule) error {
	return restrict(scope, rules, func(ruleset uintptr) syscall.Errno {
		_, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0)
		return errno
	})
}

// Restrict is RestrictThread for all threads, which need not have given up new privileges. In
// a program with cgo, which a tender is only in tests with the race detector, it is this
// thread alone.
func Restrict(scope Scope, rules ...Rule) error {
	return restrict(scope, rules, func(ruleset uintptr) syscall.Errno {
		errno := onAllThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
		if errno != unix.EPERM {
			return errno
		}
		// They may still get new privileges, and have none to do without.
		if errno = onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); errno != 0 {
			return errno
		}
		return onAllThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
	})
}

func onAllThreads(call, a, b uintptr) syscall.Errno {
	_, _, errno := syscall.AllThreadsSyscall6(call, a, b, 0, 0, 0, 0)
	if errno == unix.ENOTSUP {
		_, _, errno = unix.RawSyscall6(call, a, b, 0, 0, 0, 0)
	}
	return errno
}

func restrict(scope Scope, rules []Rule, apply func(ruleset uintptr) syscall.Errno) error {
	version := Version()
	if version == 0 {
		return nil
	}
	refused := all(version, scope)
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&refused)), unsafe.Sizeof(refused), 0)
	if errno != 0 {
		return fmt.Errorf("cannot make a ruleset of Landlock: %w", errno)
	}
	defer func() { _ = unix.Close(int(ruleset)) }()
	for _, r := range rules {
		if err := r.add(ruleset, Access(refused.files)); err != nil {
			return fmt.Errorf("cannot allow %s: %w", r.Path, err)
		}
	}
	// There cannot be more than 16 rulesets; who has started this process has so many.
	if errno := apply(ruleset); errno != 0 && errno != unix.E2BIG {
		return fmt.Errorf("cannot enforce a ruleset of Landlock: %w", errno)
	}
	return nil
}

// ofFiles is what can be allowed for what is no directory.
const ofFiles = Execute | Write | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

// add adds the rule to a ruleset. It allows nothing that the ruleset would not refuse.
func (r Rule) add(ruleset uintptr, refused Access) error {
	fd := r.File
	if r.Path != "" {
		opened, err := unix.Open(r.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(opened) }()
		fd = opened
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return err
	}
	allow := r.Allow & refused
	if s.Mode&unix.S_IFMT != unix.S_IFDIR {
		allow &= ofFiles
	}
	if allow == 0 {
		return nil
	}
	beneath := struct { // struct landlock_path_beneath_attr, which is packed: 12 bytes are read
		access Access
		parent int32
	}{allow, int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	runtime.KeepAlive(&beneath)
	if errno != 0 {
		return errno
	}
	return nil
}

package programs

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asProgram is the argument with which a test binary becomes another program.
const asProgram = "--without-exit-info"

// WithoutExitInfo makes a command run as on a kernel before Linux 6.15, which reveals only to the
// parent how a process has ended. The command must not be started yet, and the TestMain of this
// test binary must begin with MayBecomeProgram.
func WithoutExitInfo(c *exec.Cmd) {
	c.Args = append([]string{c.Args[0], asProgram, c.Path}, c.Args...)
	c.Path = "/proc/self/exe"
}

// MayBecomeProgram does not return in a process that WithoutExitInfo has made.
func MayBecomeProgram() {
	if len(os.Args) < 4 || os.Args[1] != asProgram {
		return
	}
	runtime.LockOSThread() // the filter is that of the thread, which the program inherits
	err := refuseExitInfo()
	if err == nil {
		err = syscall.Exec(os.Args[2], os.Args[3:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "cannot become %s: %v\n", os.Args[2], err)
	os.Exit(1)
}

// refuseExitInfo makes the kernel refuse the ioctl as one does that does not know it.
func refuseExitInfo() error {
	const number, request = 0, 24 // offsets in struct seccomp_data; the request is the second argument
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unlessEqual := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: skip}
	}
	result := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	filter := []unix.SockFilter{
		load(number),
		unlessEqual(unix.SYS_IOCTL, 3),
		load(request),
		unlessEqual(unix.PIDFD_GET_INFO, 1),
		result(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOTTY)),
		result(unix.SECCOMP_RET_ALLOW),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

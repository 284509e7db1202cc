package inject

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asked are the calls that the kernel asks about, by their numbers.
var asked = map[int32]Call{
	unix.SYS_OPENAT: Create, unix.SYS_PWRITE64: Write, unix.SYS_FSYNC: Sync, unix.SYS_FDATASYNC: Sync,
	unix.SYS_RENAMEAT: Rename, unix.SYS_RENAMEAT2: Rename, unix.SYS_FTRUNCATE: Resize, unix.SYS_FALLOCATE: Resize,
	unix.SYS_MKDIRAT: Mkdir, unix.SYS_ACCEPT4: Accept, unix.SYS_SOCKET: Socket, unix.SYS_SENDTO: Netlink, unix.SYS_EXECVE: Exec,
}

// netlinkAddress is the length of an address of netlink, which tells its requests from others.
const netlinkAddress = unix.SizeofSockaddrNetlink

// Offsets in struct seccomp_data; of arguments, that of the lower half.
const (
	numberAt = 0
	flagsAt  = 16 + 2*8 // of openat
	lengthAt = 16 + 5*8 // of the address of sendto
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func result(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
}

func jump(test uint16, k uint32, otherwise uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jf: otherwise}
}

// filter asks about the calls in question. Of openat and sendto, which programs make all the time,
// it asks only where a file may be created, and of requests to netlink.
func filter() (f []unix.SockFilter) {
	ask, allow := result(unix.SECCOMP_RET_USER_NOTIF), result(unix.SECCOMP_RET_ALLOW)
	f = append(f, load(numberAt))
	for number, call := range asked {
		switch call {
		case Create:
			f = append(f, jump(unix.BPF_JEQ, uint32(number), 4), load(flagsAt), jump(unix.BPF_JSET, unix.O_CREAT, 1), ask, allow)
		case Netlink:
			f = append(f, jump(unix.BPF_JEQ, uint32(number), 4), load(lengthAt), jump(unix.BPF_JEQ, netlinkAddress, 1), ask, allow)
		default:
			f = append(f, jump(unix.BPF_JEQ, uint32(number), 1), ask)
		}
	}
	return append(f, allow)
}

// MayBecomeProgram does not return in a process that Into has made.
func MayBecomeProgram() {
	if len(os.Args) < 5 || os.Args[1] != asProgram {
		return
	}
	runtime.LockOSThread() // the filter is that of the thread, which the program inherits
	if err := becomeProgram(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot become %s: %v\n", os.Args[3], err)
		os.Exit(1)
	}
}

func becomeProgram() error {
	socket, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	unix.CloseOnExec(socket)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	rules := filter()
	program := unix.SockFprog{Len: uint16(len(rules)), Filter: &rules[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	unix.CloseOnExec(int(listener))
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	return syscall.Exec(os.Args[3], os.Args[4:], os.Environ())
}

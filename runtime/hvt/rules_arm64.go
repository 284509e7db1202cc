package hvt

import "golang.org/x/sys/unix"

// What the runtime of Go passes on in system calls.
const (
	// threadFlags are those with which it makes a thread, which sets its thread-local storage itself.
	threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_SYSVSEM | unix.CLONE_THREAD

	// noFile is the descriptor of memory that is of no file: -1 in 64 bits.
	noFile = 1<<64 - 1
)

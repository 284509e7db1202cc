// Package signals asks the kernel about the signals of this process, and resets them,
// without the runtime of Go: it keeps its own handlers otherwise.
package signals

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// action is the kernel's struct. The zero value is the default disposition.
type action struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const ignore = 1 // SIG_IGN

// Ignored reports whether a signal is ignored. An exec keeps that.
func Ignored(signal unix.Signal) (bool, error) {
	var now action
	err := set(signal, nil, &now)
	return now.handler == ignore, err
}

// Reset has the kernel do by default what it does with a signal.
func Reset(signal unix.Signal) error {
	var byDefault action
	return set(signal, &byDefault, nil)
}

// set calls rt_sigaction.
func set(signal unix.Signal, to, was *action) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal),
		uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(was)), unsafe.Sizeof(action{}.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

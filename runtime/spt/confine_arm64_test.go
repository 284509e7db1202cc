package spt

import "golang.org/x/sys/unix"

// exitWithError emits an exit with the error of the last call as its status.
func (a *assembler) exitWithError() {
	a.emit(0x4b0003e0) // neg w0, w0
	a.try(unix.SYS_EXIT_GROUP)
}

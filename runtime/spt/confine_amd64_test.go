package spt

import "golang.org/x/sys/unix"

// exitWithError emits an exit with the error of the last call as its status.
func (a *assembler) exitWithError() {
	a.emit(0xf7, 0xd8) // neg %eax
	a.emit(0x89, 0xc7) // mov %eax, %edi
	a.try(unix.SYS_EXIT_GROUP)
}

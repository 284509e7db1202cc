package seccomp

import "golang.org/x/sys/unix"

const archSetFS = 0x1002 // ARCH_SET_FS of arch_prctl(2)

// ThreadPointer are the rules for who sets the address of thread-local storage: the kernel does
// it.
func ThreadPointer() []Rule { return []Rule{Allow(unix.SYS_ARCH_PRCTL, Is(0, archSetFS))} }

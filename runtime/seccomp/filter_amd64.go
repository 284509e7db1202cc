package seccomp

import "golang.org/x/sys/unix"

// Architecture is that of the calls which a filter judges.
const Architecture = unix.AUDIT_ARCH_X86_64

// otherTable marks the numbers of the x32 table, whose calls are those of x86-64 with other
// layouts; the architecture is the same for both.
const otherTable = 0x40000000

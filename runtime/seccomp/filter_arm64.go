package seccomp

import "golang.org/x/sys/unix"

// Architecture is that of the calls which a filter judges.
const Architecture = unix.AUDIT_ARCH_AARCH64

// otherTable is no bit: all calls of this architecture are in one table.
const otherTable = 0

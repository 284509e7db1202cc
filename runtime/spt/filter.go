package spt

import (
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// The seccomp filter is a list of rules, each a system call with conditions on its
// arguments. What no rule allows kills the process at once: a guest that tries it is
// broken or hostile, and neither should get a second try.

// condition restricts one argument.
type condition struct {
	argument int
	compare  comparison
	value    uint64
}

type comparison int

const (
	equal comparison = iota
	atMost
)

// rule allows a system call when all conditions hold.
type rule struct {
	call       uint32
	conditions []condition
}

func allow(call uint32, conditions ...condition) rule { return rule{call, conditions} }

// is requires all 64 bits of an argument to be value, even if the kernel looks at 32 of
// them only.
func is(argument int, value uint64) condition { return condition{argument, equal, value} }

// rules lists what a guest may do; the frequent calls come first, since the filter
// searches the list from its beginning.
func rules(devices []device) []rule {
	r := []rule{
		allow(unix.SYS_EPOLL_PWAIT, is(0, fdEpoll)),
		allow(unix.SYS_TIMERFD_SETTIME, is(0, fdTimer)),
		allow(unix.SYS_CLOCK_GETTIME, is(0, unix.CLOCK_MONOTONIC)),
		allow(unix.SYS_CLOCK_GETTIME, is(0, unix.CLOCK_REALTIME)),
	}
	for i, d := range devices {
		r = append(r, d.rules(uint64(fdDevices+i))...)
	}
	return append(r,
		allow(unix.SYS_WRITE, is(0, fdConsole)),
		allow(unix.SYS_ARCH_PRCTL, is(0, archSetFS)),
		allow(unix.SYS_EXIT_GROUP),
	)
}

// rules allow a guest to use a device at a descriptor. A block device is read and written
// by whole sectors and up to its end only: beyond it, the guest would make the file grow.
func (d device) rules(fd uint64) []rule {
	if d.kind == image.Net {
		return []rule{allow(unix.SYS_READ, is(0, fd)), allow(unix.SYS_WRITE, is(0, fd))}
	}
	size := uint64(d.sectorSize)
	sector := []condition{is(0, fd), is(2, size), {3, atMost, d.capacity - size}}
	return []rule{allow(unix.SYS_PREAD64, sector...), allow(unix.SYS_PWRITE64, sector...)}
}

const archSetFS = 0x1002 // ARCH_SET_FS of arch_prctl(2)

// Offsets in struct seccomp_data, which a filter reads in words of 32 bits.
const (
	dataCall         = 0
	dataArchitecture = 4
	dataArguments    = 16
)

// x32 marks the numbers of the x32 table, whose calls are those of x86-64 with other
// layouts; the architecture is the same for both.
const x32 = 0x40000000

// The classic BPF instructions that a filter needs.
const (
	opLoad           = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opJumpIfEqual    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opJumpIfGreater  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opJumpIfAnyBitOf = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opReturn         = unix.BPF_RET | unix.BPF_K
)

func load(offset uint32) unix.SockFilter { return unix.SockFilter{Code: opLoad, K: offset} }

func answer(action uint32) unix.SockFilter { return unix.SockFilter{Code: opReturn, K: action} }

// compileFilter translates rules.
func compileFilter(rules []rule) []unix.SockFilter {
	kill := answer(unix.SECCOMP_RET_KILL_PROCESS)
	filter := []unix.SockFilter{
		load(dataArchitecture),
		{Code: opJumpIfEqual, Jt: 1, K: unix.AUDIT_ARCH_X86_64},
		kill,
		load(dataCall),
		{Code: opJumpIfAnyBitOf, Jf: 1, K: x32},
		kill,
	}
	for _, r := range rules {
		filter = append(filter, r.compile()...)
	}
	return append(filter, kill)
}

// next stands for a jump to the end of the rule until the length of the rule is known. No
// rule is long enough for a jump of that many instructions within it.
const next = 255

// compile translates one rule: a condition that does not hold jumps behind it, to the
// next rule.
func (r rule) compile() []unix.SockFilter {
	code := []unix.SockFilter{
		load(dataCall),
		{Code: opJumpIfEqual, Jf: next, K: r.call},
	}
	for _, c := range r.conditions {
		code = append(code, c.compile()...)
	}
	code = append(code, answer(unix.SECCOMP_RET_ALLOW))
	for i := range code {
		distance := uint8(len(code) - i - 1)
		if code[i].Jt == next {
			code[i].Jt = distance
		}
		if code[i].Jf == next {
			code[i].Jf = distance
		}
	}
	return code
}

func (c condition) compile() []unix.SockFilter {
	low := uint32(dataArguments + 8*c.argument)
	high := low + 4
	lowValue, highValue := uint32(c.value), uint32(c.value>>32)
	if c.compare == atMost {
		return []unix.SockFilter{
			load(high),
			{Code: opJumpIfGreater, Jt: next, K: highValue},
			{Code: opJumpIfEqual, Jf: 2, K: highValue}, // less: whatever the low half is
			load(low),
			{Code: opJumpIfGreater, Jt: next, K: lowValue},
		}
	}
	return []unix.SockFilter{
		load(high),
		{Code: opJumpIfEqual, Jf: next, K: highValue},
		load(low),
		{Code: opJumpIfEqual, Jf: next, K: lowValue},
	}
}

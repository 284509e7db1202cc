// Package seccomp makes filters that say which system calls a process may make.
//
// A filter is a list of rules, each a system call with conditions on its arguments. What
// no rule allows kills the process at once: who tries it is broken or hostile, and neither
// should get a second try. That holds for all calls of another architecture that the processor
// can change to, be it that of 32 bits, whose numbers mean other calls.
package seccomp

import "golang.org/x/sys/unix"

// Condition restricts one argument.
type Condition struct {
	argument int
	compare  comparison
	value    uint64
}

type comparison int

const (
	equal comparison = iota
	atMost
	noneOf
)

// Rule allows a system call when all conditions hold.
type Rule struct {
	call       uint32
	conditions []Condition
}

// Allow is a rule for a system call.
func Allow(call uint32, conditions ...Condition) Rule { return Rule{call, conditions} }

// Is requires all 64 bits of an argument to be value, even if the kernel looks at 32 of
// them only.
func Is(argument int, value uint64) Condition { return Condition{argument, equal, value} }

// AtMost requires an argument, without a sign, to be no more than value.
func AtMost(argument int, value uint64) Condition { return Condition{argument, atMost, value} }

// NoneOf requires these bits of an argument to be zero.
func NoneOf(argument int, bits uint64) Condition { return Condition{argument, noneOf, bits} }

// Offsets in struct seccomp_data, which a filter reads in words of 32 bits.
const (
	dataCall         = 0
	dataArchitecture = 4
	dataArguments    = 16
)

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

// Compile translates rules. The filter searches them in their order, so the frequent calls
// should come first.
func Compile(rules []Rule) []unix.SockFilter {
	kill := answer(unix.SECCOMP_RET_KILL_PROCESS)
	filter := []unix.SockFilter{
		load(dataArchitecture),
		{Code: opJumpIfEqual, Jt: 1, K: Architecture},
		kill,
		load(dataCall),
		{Code: opJumpIfAnyBitOf, Jf: 1, K: otherTable},
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
func (r Rule) compile() []unix.SockFilter {
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

func (c Condition) compile() []unix.SockFilter {
	low := uint32(dataArguments + 8*c.argument)
	high := low + 4
	lowValue, highValue := uint32(c.value), uint32(c.value>>32)
	switch c.compare {
	case atMost:
		return []unix.SockFilter{
			load(high),
			{Code: opJumpIfGreater, Jt: next, K: highValue},
			{Code: opJumpIfEqual, Jf: 2, K: highValue}, // less: whatever the low half is
			load(low),
			{Code: opJumpIfGreater, Jt: next, K: lowValue},
		}
	case noneOf:
		return []unix.SockFilter{
			load(high),
			{Code: opJumpIfAnyBitOf, Jt: next, K: highValue},
			load(low),
			{Code: opJumpIfAnyBitOf, Jt: next, K: lowValue},
		}
	}
	return []unix.SockFilter{
		load(high),
		{Code: opJumpIfEqual, Jf: next, K: highValue},
		load(low),
		{Code: opJumpIfEqual, Jf: next, K: lowValue},
	}
}

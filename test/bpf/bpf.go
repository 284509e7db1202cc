// Package bpf judges system calls by a seccomp filter as the kernel does.
package bpf

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Call is a system call.
type Call struct {
	Number, Architecture uint32
	Arguments            [6]uint64
}

func (c Call) data() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, c.Number)
	b = le.AppendUint32(b, c.Architecture)
	b = le.AppendUint64(b, 0) // instruction pointer
	for _, a := range c.Arguments {
		b = le.AppendUint64(b, a)
	}
	return b
}

// The classic BPF instructions of our filters.
const (
	load           = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpIfEqual    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpIfGreater  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	jumpIfAnyBitOf = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	result         = unix.BPF_RET | unix.BPF_K
)

// Judge returns what a filter decides. It panics where the kernel would not load the
// filter.
func Judge(filter []unix.SockFilter, c Call) uint32 {
	data := c.data()
	var a uint32
	for pc := 0; ; pc++ {
		switch i := filter[pc]; i.Code {
		case load:
			a = binary.LittleEndian.Uint32(data[i.K:])
		case result:
			return i.K
		case jumpIfEqual:
			pc += jump(a == i.K, i)
		case jumpIfGreater:
			pc += jump(a > i.K, i)
		case jumpIfAnyBitOf:
			pc += jump(a&i.K != 0, i)
		default:
			panic(fmt.Sprintf("unknown instruction %#x", i.Code))
		}
	}
}

func jump(holds bool, i unix.SockFilter) int {
	if holds {
		return int(i.Jt)
	}
	return int(i.Jf)
}

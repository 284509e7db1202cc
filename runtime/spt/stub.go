package spt

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// The stub is the first code that runs in the new process and the last that is ours: it
// gives up everything the guest must not have and jumps to the guest. It lies, with its
// data, in one read-only and executable segment far above guest memory. The guest may
// read and even call it; by then it is harmless, since the filter judges every system
// call, wherever it is made.
//
// An assembler encodes the few instructions of it: each processor has its own. Its methods are
// try, a system call; call, one that must succeed; enter, a jump to the guest; and failureHere, where
// failed calls continue.

// stub is the data of the stub.
type stub struct {
	entry       uint64   // of the guest
	stack       uint64   // the guest's initial stack pointer
	bootInfo    uint64   // its only argument
	mapped      []region // of which the stub maps a part of the image, if there is one
	descriptors int      // the first descriptor the guest must not have: the image
	filter      []unix.SockFilter
	secret      bool // nobody but root may look into the memory of the process
}

const (
	// processName is what ps and top show.
	processName = "albatross-spt\x00"

	stubFailure = "albatross-tender: cannot confine guest: the kernel refused\n"
)

// bytes assembles the stub. The code comes first; it is assembled twice, since the
// addresses of the data depend on its length, which does not depend on them.
func (s stub) bytes() []byte {
	var data stubData
	length := len(s.code(data))
	data = s.data(stubBase + uint64(length))
	return append(s.code(data), data.bytes...)
}

// stubData is the data after the code, and the addresses of its parts.
type stubData struct {
	bytes   []byte
	program uint64 // struct sock_fprog
	name    uint64
	failure uint64
	limit   uint64 // struct rlimit of zeros
}

func (s stub) data(address uint64) stubData {
	var d stubData
	add := func(b ...byte) uint64 {
		at := address + uint64(len(d.bytes))
		d.bytes = append(d.bytes, b...)
		return at
	}
	le := binary.LittleEndian
	var code []byte
	for _, i := range s.filter {
		code = le.AppendUint16(code, i.Code)
		code = append(code, i.Jt, i.Jf)
		code = le.AppendUint32(code, i.K)
	}
	filter := add(code...)
	d.program = add(le.AppendUint64(le.AppendUint64(nil, uint64(len(s.filter))), filter)...)
	d.limit = add(make([]byte, 16)...)
	d.name = add([]byte(processName)...)
	d.failure = add([]byte(stubFailure)...)
	return d
}

// code assembles the instructions.
func (s stub) code(d stubData) []byte {
	var a assembler

	// The kernel made a stack for the program that it thinks it started. The guest has
	// its own. This one stays, with the arguments that ps shows and little else, but must
	// not grow: that would be memory in excess of --mem.
	a.call(unix.SYS_SETRLIMIT, unix.RLIMIT_STACK, d.limit)
	a.call(unix.SYS_PRCTL, unix.PR_SET_NAME, d.name)

	// What unikernels share of the image; from here on it is that of the guest.
	for _, r := range s.mapped {
		if p := r.mapped; p.Size > 0 {
			a.call(unix.SYS_MMAP, p.Address, p.Size, protections(r.protection),
				unix.MAP_PRIVATE|unix.MAP_FIXED, uint64(s.descriptors), p.Offset)
		}
	}

	// The guest must not use other descriptors of whoever started us.
	a.call(unix.SYS_CLOSE_RANGE, uint64(s.descriptors), 1<<32-1, 0)

	// The exec has made the process one that its user may look into, and that may leave a
	// core file.
	if s.secret {
		a.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}

	// No setuid program could be executed anyhow, but only with this an ordinary user may
	// load a filter.
	a.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	a.call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, d.program)

	// From here on the rules are in force.
	a.enter(s.entry, s.stack, s.bootInfo)

	a.failureHere()
	a.try(unix.SYS_WRITE, 2, d.failure, uint64(len(stubFailure)))
	a.try(unix.SYS_EXIT_GROUP, 1)
	return a.code
}

// protections returns those of memory as mmap takes them.
func protections(p image.Protection) (bits uint64) {
	if p&image.Readable != 0 {
		bits |= unix.PROT_READ
	}
	if p&image.Writable != 0 {
		bits |= unix.PROT_WRITE
	}
	if p&image.Executable != 0 {
		bits |= unix.PROT_EXEC
	}
	return bits
}

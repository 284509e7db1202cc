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

// stubBase is the address of the stub: above any guest memory, and below everything that
// Linux maps by itself, be that from the top of the address space downwards or, without a
// limit for the stack, from a third of it upwards.
const stubBase = 1 << 44

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

	// From here on the rules are in force. The guest finds zeros instead of our
	// arguments.
	a.load(rsi, 0)
	a.load(rdx, 0)
	a.load(r10, 0)
	a.load(r8, 0)
	a.load(r9, 0)
	a.load(rdi, s.bootInfo)
	a.load(rsp, s.stack)
	a.load(rax, s.entry)
	a.emit(0xff, 0xe0) // jmp *%rax

	a.failureHere()
	a.load(rdi, 2)
	a.load(rsi, d.failure)
	a.load(rdx, uint64(len(stubFailure)))
	a.load(rax, unix.SYS_WRITE)
	a.emit(0x0f, 0x05) // syscall
	a.load(rdi, 1)
	a.load(rax, unix.SYS_EXIT_GROUP)
	a.emit(0x0f, 0x05) // syscall
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

// assembler encodes the few instructions of the stub.
type assembler struct {
	code  []byte
	fixes []int // where the distance to the failure handling is missing
}

// register is the opcode of "movabs $imm64, register", prefix included.
type register [2]byte

var (
	rax = register{0x48, 0xb8}
	rdx = register{0x48, 0xba}
	rsp = register{0x48, 0xbc}
	rsi = register{0x48, 0xbe}
	rdi = register{0x48, 0xbf}
	r8  = register{0x49, 0xb8}
	r9  = register{0x49, 0xb9}
	r10 = register{0x49, 0xba}
)

// argumentRegisters holds the registers of a system call's arguments.
var argumentRegisters = []register{rdi, rsi, rdx, r10, r8, r9}

func (a *assembler) emit(b ...byte) { a.code = append(a.code, b...) }

// load emits: movabs $value, r
func (a *assembler) load(r register, value uint64) {
	a.emit(r[:]...)
	a.code = binary.LittleEndian.AppendUint64(a.code, value)
}

// call emits a system call that must succeed.
func (a *assembler) call(number uint64, arguments ...uint64) {
	for i, value := range arguments {
		a.load(argumentRegisters[i], value)
	}
	a.load(rax, number)
	a.emit(0x0f, 0x05)       // syscall
	a.emit(0x48, 0x85, 0xc0) // test %rax, %rax
	a.emit(0x0f, 0x88)       // js failure: the kernel returns -errno
	a.fixes = append(a.fixes, len(a.code))
	a.emit(0, 0, 0, 0)
}

// failureHere makes all failed calls continue here.
func (a *assembler) failureHere() {
	for _, at := range a.fixes {
		binary.LittleEndian.PutUint32(a.code[at:], uint32(len(a.code)-at-4))
	}
}

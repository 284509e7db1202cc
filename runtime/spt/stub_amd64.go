package spt

import "encoding/binary"

// stubBase is the address of the stub: above any guest memory, and below everything that
// Linux maps by itself, be that from the top of the address space downwards or, without a
// limit for the stack, from a third of it upwards.
const stubBase = 1 << 44

// stackGap is how far below the end of memory the stack begins: as after a call, aligned to 16
// minus 8.
const stackGap = 8

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

func (a *assembler) try(number uint64, arguments ...uint64) {
	for i, value := range arguments {
		a.load(argumentRegisters[i], value)
	}
	a.load(rax, number)
	a.emit(0x0f, 0x05) // syscall
}

func (a *assembler) call(number uint64, arguments ...uint64) {
	a.try(number, arguments...)
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

// enter jumps to the guest, which finds zeros instead of the arguments of our calls.
func (a *assembler) enter(entry, stack, argument uint64) {
	for _, r := range argumentRegisters {
		a.load(r, 0)
	}
	a.load(rdi, argument)
	a.load(rsp, stack)
	a.load(rax, entry)
	a.emit(0xff, 0xe0) // jmp *%rax
}

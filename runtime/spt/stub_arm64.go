package spt

import "encoding/binary"

// stubBase is the address of the stub: above any guest memory, and below everything that
// Linux maps by itself, be that from the top of the address space downwards or, without a
// limit for the stack, from a third of it upwards. The smallest address space, that of kernels
// for small machines, has 39 bits.
const stubBase = 1 << 37

// stackGap is how far below the end of memory the stack begins, which is aligned to 16.
const stackGap = 16

type assembler struct {
	code  []byte
	fixes []int // instructions in which the distance to the failure handling is missing
}

// register is the number of a register.
type register uint32

const (
	x0            register = 0
	callRegister  register = 8  // has the number of a system call
	entryRegister register = 16 // may be changed by whatever calls a function
	frameRegister register = 29
	linkRegister  register = 30
	stackPointer  register = 31 // of some instructions; that of others is zero
)

func (a *assembler) emit(instruction uint32) {
	a.code = binary.LittleEndian.AppendUint32(a.code, instruction)
}

// load emits: movz r, and movk r for each of the other three parts of the value
func (a *assembler) load(r register, value uint64) {
	a.emit(0xd2800000 | uint32(value&0xffff)<<5 | uint32(r))
	for part := uint32(1); part < 4; part++ {
		a.emit(0xf2800000 | part<<21 | uint32(value>>(16*part)&0xffff)<<5 | uint32(r))
	}
}

func (a *assembler) try(number uint64, arguments ...uint64) {
	for i, value := range arguments {
		a.load(x0+register(i), value)
	}
	a.load(callRegister, number)
	a.emit(0xd4000001) // svc #0
}

func (a *assembler) call(number uint64, arguments ...uint64) {
	a.try(number, arguments...)
	a.fixes = append(a.fixes, len(a.code))
	a.emit(0xb7f80000) // tbnz x0, #63, failure: the kernel returns -errno
}

// failureHere makes all failed calls continue here. The distance is in instructions, and has 14
// bits, of which one is the sign: the stub is much shorter.
func (a *assembler) failureHere() {
	le := binary.LittleEndian
	for _, at := range a.fixes {
		le.PutUint32(a.code[at:], le.Uint32(a.code[at:])|uint32(len(a.code)-at)/4<<5)
	}
}

// enter jumps to the guest, which finds zeros instead of the arguments of our calls.
func (a *assembler) enter(entry, stack, argument uint64) {
	a.load(entryRegister, stack)
	a.emit(0x91000000 | uint32(entryRegister)<<5 | uint32(stackPointer)) // mov sp, x16
	a.load(entryRegister, entry)
	a.load(x0, argument)
	for r := x0 + 1; r <= callRegister; r++ {
		a.load(r, 0)
	}
	a.load(frameRegister, 0)
	a.load(linkRegister, 0)
	a.emit(0xd61f0000 | uint32(entryRegister)<<5) // br x16
}

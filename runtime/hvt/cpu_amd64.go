package hvt

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// How the CPU begins: in 64-bit mode, with paging, at the entry of the image.

// The bits of the control registers that are set.
const (
	cr0 = 1<<0 | // protected mode
		1<<5 | // errors of the FPU are exceptions
		1<<16 | // supervisor code, as the guest is, cannot write to read-only pages
		1<<31 // paging
	cr4 = 1<<5 | // page tables of 64 bits
		1<<9 | 1<<10 // SSE, and exceptions of it
	efer = 1<<8 | 1<<10 | // 64-bit mode
		1<<11 // pages can be not executable

	rflags = 1 << 1 // always set
)

// The segments are those of the GDT, at 8 and 16.
var (
	codeSegment = segment{limit: 0xffffffff, selector: 8, kind: 11, present: 1, s: 1, l: 1, g: 1}
	dataSegment = segment{limit: 0xffffffff, selector: 16, kind: 3, present: 1, s: 1, db: 1, g: 1}
	taskSegment = segment{kind: 11, present: 1} // there are no tasks, but the CPU insists on one
)

const segments = 3

// stackGap is how far below its end the stack begins: as after a call, aligned to 16 minus 8.
const stackGap = 8

// writeTables writes the GDT, which the CPU reads when the guest loads a segment.
func (m *memory) writeTables() {
	for i, s := range []segment{codeSegment, dataSegment} {
		binary.LittleEndian.PutUint64(m.bytes[gdtBase+8*(i+1):], s.descriptor())
	}
}

// descriptor returns a segment of all memory as the CPU reads it.
func (s segment) descriptor() uint64 {
	limit := uint64(s.limit) >> 12 // in pages
	low := limit&0xffff | s.base&0xffffff<<16
	access := uint64(s.kind) | uint64(s.s)<<4 | uint64(s.dpl)<<5 | uint64(s.present)<<7
	flags := limit>>16 | uint64(s.l)<<5 | uint64(s.db)<<6 | uint64(s.g)<<7
	return low | access<<40 | flags<<48 | s.base>>24<<56
}

// reset sets the registers for the first instruction of the image.
func (m *machine) reset(entry, stack uint64) error {
	s := special{
		cs: codeSegment, ds: dataSegment, es: dataSegment, fs: dataSegment, gs: dataSegment, ss: dataSegment,
		tr: taskSegment, ldt: segment{unusable: 1},
		gdt: table{base: gdtBase, limit: 8*segments - 1},
		cr0: cr0, cr3: pml4Base, cr4: cr4, efer: efer,
	}
	if err := ioctlPointer(m.cpu, kvmSetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("cannot set control registers of virtual CPU: %w", err)
	}
	r := registers{rip: entry, rsp: stack, rdi: bootInfoBase, rflags: rflags}
	if err := ioctlPointer(m.cpu, kvmSetRegs, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("cannot set registers of virtual CPU: %w", err)
	}
	return nil
}

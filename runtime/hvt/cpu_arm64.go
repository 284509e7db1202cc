package hvt

import (
	"encoding/binary"
	"fmt"
)

// How the CPU begins: with paging and caches, at exception level 1, at the entry of the image.
const (
	pstate = 0xf<<6 | 5 // all interrupts masked; level 1, with its own stack pointer

	fpuOn = 3 << 20 // in CPACR: vector registers are not trapped

	sctlr = 1<<0 | 1<<2 | 1<<12 | // paging, and caches of data and code
		1<<11 | 1<<20 | 1<<22 | 1<<23 | 1<<28 | 1<<29 // always set

	// Kinds of memory, by their numbers in page tables.
	deviceMemory = 1
	normalMemory = 4
	mair         = 0x04<<(8*deviceMemory) | 0xff<<(8*normalMemory)

	// Addresses have 40 bits, virtual and physical, from 0 upwards. Tables are cached. The top byte
	// of an address is ignored.
	addressSize = 40
	tcr         = (64 - addressSize) | (64-addressSize)<<16 |
		1<<8 | 1<<10 | 3<<12 | // for addresses from 0 upwards: cached, shared, pages of 4 KB
		1<<24 | 1<<26 | 3<<28 | 2<<30 | // for those from the top downwards, of which there are none
		2<<32 | 1<<36 | 1<<37
)

// stackGap is how far below its end the stack begins, which is aligned to 16.
const stackGap = 16

// reset sets the registers for the first instruction of the image.
func (m *machine) reset(entry, stack uint64) error {
	for _, r := range []struct {
		register register
		value    uint64
	}{
		{regCPACR, fpuOn}, {regMAIR, mair}, {regTCR, tcr}, {regTTBR0, level0Base}, {regVBAR, vectorsBase}, {regSCTLR, sctlr},
		{regPState, pstate}, {regStack, stack}, {regPC, entry}, {general(0), bootInfoBase},
	} {
		if err := m.set(r.register, r.value); err != nil {
			return fmt.Errorf("cannot set register %#x of virtual CPU: %w", uint64(r.register), err)
		}
	}
	return nil
}

// writeTables writes exception vectors, for a guest that has none of its own. Each of the 16 writes
// to trapAddress, which ends the guest with its registers.
func (m *memory) writeTables() {
	vector := []uint32{
		0xd518d080,                         // msr tpidr_el1, x0
		0xd2c00020,                         // movz x0, #1, lsl #32
		0xf2800000 | trapAddress&0xffff<<5, // movk x0, #trapAddress
		0xb900001f,                         // str wzr, [x0]
		0x14000000,                         // b .
	}
	for at := vectorsBase; at < vectorsBase+vectorsSize; at += vectorsSize / 16 {
		for n, instruction := range vector {
			binary.LittleEndian.PutUint32(m.bytes[at+4*n:], instruction)
		}
	}
}

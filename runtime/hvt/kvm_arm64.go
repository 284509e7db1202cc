package hvt

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// The requests of KVM that arm64 has of its own.
const (
	kvmPreferredTarget = 0x8020aeaf
	kvmInitVCPU        = 0x4020aeae
	kvmGetRegister     = 0x4010aeab
	kvmSetRegister     = 0x4010aeac
)

// stateRequests are those that read the registers of a guest that has failed.
var stateRequests = []uint64{kvmGetRegister}

// exitHypercall is why KVM stops at a hypercall: a store to where there is no memory.
const exitHypercall = exitMMIO

// portBase is where the addresses of hypercalls are: that of hypercall n is portBase+portStep*n.
// Our exception vectors write to trapAddress.
const (
	portBase    = 1 << 32
	portStep    = 8
	trapAddress = portBase + 0xff8
	place       = "address"
)

// A register is the number of one for KVM: of 64 bits, general or of the system.
type register uint64

const (
	generalRegisters = 0x6030000000100000
	systemRegisters  = 0x6030000000130000
)

// general returns the register at an index in what the kernel calls struct kvm_regs: x0 to x30, sp,
// pc, pstate, and sp of EL1.
func general(index uint64) register { return register(generalRegisters | 2*index) }

func system(op1, crn, crm, op2 uint64) register {
	return register(systemRegisters | 3<<14 | op1<<11 | crn<<7 | crm<<3 | op2)
}

var (
	regPC     = general(32)
	regPState = general(33)
	regStack  = general(34)

	regSCTLR = system(0, 1, 0, 0)
	regCPACR = system(0, 1, 0, 2)
	regTTBR0 = system(0, 2, 0, 0)
	regTCR   = system(0, 2, 0, 2)
	regESR   = system(0, 5, 2, 0)
	regFAR   = system(0, 6, 0, 0)
	regMAIR  = system(0, 10, 2, 0)
	regVBAR  = system(0, 12, 0, 0)
	regELR   = general(35)
	regTPIDR = system(0, 13, 0, 4)
)

func (m *machine) set(r register, value uint64) error {
	return ioctlPointer(m.cpu, kvmSetRegister, unsafe.Pointer(&struct {
		number register
		value  *uint64
	}{r, &value}))
}

// get returns the value of a register, or 0 if KVM does not tell it.
func (m *machine) get(r register) (value uint64) {
	_ = ioctlPointer(m.cpu, kvmGetRegister, unsafe.Pointer(&struct {
		number register
		value  *uint64
	}{r, &value}))
	return value
}

// counterFrequency returns how fast the counter runs that host and guest read.
func counterFrequency() uint64

// setUp makes the CPU one of the kind that the host has.
func (m *machine) setUp(_, vm int, _ uint64) error {
	var target [8]uint32 // its number, and features
	if err := ioctlPointer(vm, kvmPreferredTarget, unsafe.Pointer(&target)); err != nil {
		return fmt.Errorf("cannot choose kind of virtual CPU: %w", err)
	}
	if err := ioctlPointer(m.cpu, kvmInitVCPU, unsafe.Pointer(&target)); err != nil {
		return fmt.Errorf("cannot set kind of virtual CPU: %w", err)
	}
	m.frequency = counterFrequency()
	return nil
}

// state is the CPU of a guest.
type state struct {
	x              [31]uint64
	sp, pc, pstate uint64
	elr, esr, far  uint64 // of the last exception
}

// state reads the registers. They are all zero if KVM does not tell them, as nothing depends on
// them. The registers at an exception that the guest does not handle are those before our vectors.
func (m *machine) state() (s state) {
	for n := range s.x {
		s.x[n] = m.get(general(uint64(n)))
	}
	s.sp, s.pc, s.pstate = m.get(regStack), m.get(regPC), m.get(regPState)
	s.elr, s.esr, s.far = m.get(regELR), m.get(regESR), m.get(regFAR)
	if s.pc >= vectorsBase && s.pc < vectorsBase+vectorsSize {
		s.x[0], s.pc = m.get(regTPIDR), s.elr
	}
	return s
}

// output reads:
//
//	32  u64  address
//	40  u64  data
//	48  u32  its size in bytes
//	52  u8   1 for a store
func (m *machine) output() (output, error) {
	le, detail := binary.LittleEndian, m.shared[detailOffset:]
	o := output{place: le.Uint64(detail), value: le.Uint32(detail[8:]), odd: le.Uint32(detail[16:]) != 4 || detail[20] != 1}
	switch {
	case o.place < portBase:
		return o, fmt.Errorf("%w at %#x", errTranslation, o.place)
	case o.place == trapAddress && !o.odd:
		return o, fmt.Errorf("an exception that it does not handle: %s", exception(m.get(regESR)))
	}
	return o, nil
}

// exception names the class of an exception.
func exception(syndrome uint64) string {
	class := syndrome >> 26 & 63
	switch class {
	case 0:
		return "an unknown instruction"
	case 0x21:
		return "it executes what is no code"
	case 0x22:
		return "it executes at an odd address"
	case 0x25:
		return "it touches memory that is not there, or not for that"
	case 0x26:
		return "its stack is at an odd address"
	}
	return fmt.Sprintf("class %#x", class)
}

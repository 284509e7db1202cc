package hvt

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// The requests of KVM that x86-64 has of its own.
const (
	kvmGetSupportedCPUID = 0xc008ae05
	kvmGetRegs           = 0x8090ae81
	kvmSetRegs           = 0x4090ae82
	kvmGetSregs          = 0x8138ae83
	kvmSetSregs          = 0x4138ae84
	kvmSetCPUID2         = 0x4008ae90
	kvmGetTSCKHz         = 0xaea3
	kvmCapabilityTSCKHz  = 61
	kvmMaxCPUIDEntries   = 256
)

// stateRequests are those that read the registers of a guest that has failed.
var stateRequests = []uint64{kvmGetRegs, kvmGetSregs}

// exitHypercall is why KVM stops at a hypercall: an OUT.
const exitHypercall = exitIO

// portBase is where the ports of hypercalls are: that of hypercall n is portBase+n.
const (
	portBase = 0x500
	portStep = 1
	place    = "port"
)

// cpuid is what the CPUID instruction answers.
type cpuid struct {
	count, _ uint32
	entries  [kvmMaxCPUIDEntries][10]uint32
}

// Where an entry has the question, and an answer.
const (
	cpuidLeaf = 0
	cpuidEAX  = 3
)

// registers are the general registers, in the order of KVM.
type registers struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp uint64
	r8, r9, r10, r11, r12, r13, r14, r15   uint64
	rip, rflags                            uint64
}

// segment is a segment register.
type segment struct {
	base                               uint64
	limit                              uint32
	selector                           uint16
	kind, present, dpl, db, s, l, g, _ uint8
	unusable, _                        uint8
}

// table is the register of a descriptor table.
type table struct {
	base  uint64
	limit uint16
	_     [3]uint16
}

// special are the registers that only an operating system uses.
type special struct {
	cs, ds, es, fs, gs, ss, tr, ldt segment
	gdt, idt                        table
	cr0, cr2, cr3, cr4, cr8         uint64
	efer, apic                      uint64
	_                               [4]uint64
}

// setUp gives the guest what its processor has of its own, if it addresses all memory.
func (m *machine) setUp(kvm, _ int, memory uint64) error {
	var features cpuid
	if err := m.setCPUID(kvm, &features); err != nil {
		return fmt.Errorf("cannot set features of virtual CPU: %w", err)
	}
	if bits := features.addressBits(); memory > 1<<bits {
		return fmt.Errorf("cannot use %d MB of memory: the processor addresses %d", memory/megabyte, 1<<bits/megabyte)
	}
	return m.readFrequency(kvm)
}

// setCPUID gives the guest all that the host and KVM support.
func (m *machine) setCPUID(kvm int, c *cpuid) error {
	c.count = kvmMaxCPUIDEntries
	if err := ioctlPointer(kvm, kvmGetSupportedCPUID, unsafe.Pointer(c)); err != nil {
		return err
	}
	return ioctlPointer(m.cpu, kvmSetCPUID2, unsafe.Pointer(c))
}

// addressBits returns how many bits the addresses of a processor have.
func (c *cpuid) addressBits() uint32 {
	const sizes, least = 0x80000008, 36
	for _, e := range c.entries[:min(c.count, kvmMaxCPUIDEntries)] {
		if e[cpuidLeaf] == sizes {
			return min(e[cpuidEAX]&0xff, 62)
		}
	}
	return least
}

// readFrequency reads how fast the guest's clock runs, which it tells the time by.
func (m *machine) readFrequency(kvm int) error {
	if has, err := ioctl(kvm, kvmCheckExtension, kvmCapabilityTSCKHz); err != nil || has == 0 {
		return fmt.Errorf("cannot run images for hvt on this machine: its KVM does not tell the frequency of the time stamp counter (%v)", err)
	}
	khz, err := ioctl(m.cpu, kvmGetTSCKHz, 0)
	if err != nil {
		return fmt.Errorf("cannot run images for hvt on this machine: its time stamp counter is unstable: %w", err)
	}
	m.frequency = uint64(khz) * 1000
	return nil
}

// state is the CPU of a guest.
type state struct {
	registers
	special
}

// state reads the registers. After a triple fault, the processors of AMD have lost them.
// They are all zero if KVM does not tell them, as nothing depends on them.
func (m *machine) state() (s state) {
	if ioctlPointer(m.cpu, kvmGetRegs, unsafe.Pointer(&s.registers)) == nil {
		_ = ioctlPointer(m.cpu, kvmGetSregs, unsafe.Pointer(&s.special))
	}
	return s
}

// output reads:
//
//	32  u8   direction, 1 for OUT
//	33  u8   size in bytes
//	34  u16  port
//	36  u32  how many there are, for a string instruction
//	40  u64  where they are in the shared memory
func (m *machine) output() (output, error) {
	le, detail := binary.LittleEndian, m.shared[detailOffset:]
	o := output{place: uint64(le.Uint16(detail[2:]))}
	at := le.Uint64(detail[8:])
	if detail[0] != 1 || detail[1] != 4 || le.Uint32(detail[4:]) != 1 || at > uint64(len(m.shared)-4) {
		o.odd = true
		return o, nil
	}
	o.value = le.Uint32(m.shared[at:])
	return o, nil
}

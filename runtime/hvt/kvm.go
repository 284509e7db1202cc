package hvt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/runtime/solo5"
)

// The requests of KVM that we use; see Documentation/virt/kvm/api.rst of Linux.
const (
	kvmGetAPIVersion      = 0xae00
	kvmCreateVM           = 0xae01
	kvmCheckExtension     = 0xae03
	kvmGetVCPUMmapSize    = 0xae04
	kvmGetSupportedCPUID  = 0xc008ae05
	kvmCreateVCPU         = 0xae41
	kvmSetUserMemory      = 0x4020ae46
	kvmRun                = 0xae80
	kvmGetRegs            = 0x8090ae81
	kvmSetRegs            = 0x4090ae82
	kvmGetSregs           = 0x8138ae83
	kvmSetSregs           = 0x4138ae84
	kvmSetCPUID2          = 0x4008ae90
	kvmGetTSCKHz          = 0xaea3
	kvmAPIVersion         = 12
	kvmCapabilityTSCKHz   = 61
	kvmMaxCPUIDEntries    = 256
	kvmRunStructureLength = 64 // as far as we read it
)

// userMemory says which memory of this process is memory of the guest.
type userMemory struct {
	slot, flags  uint32
	guestAddress uint64
	size         uint64
	address      uint64
}

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

// machine is a virtual machine with one CPU, as far as it is needed once it exists: the
// kernel keeps the rest as long as the CPU.
type machine struct {
	cpu       int
	shared    []byte // where KVM tells why it has stopped; the guest does not see it
	frequency uint64 // of the time stamp counter, in Hz
}

var noMachine = machine{cpu: -1}

func openKVM() (int, error) {
	if runtime.GOARCH != "amd64" {
		return -1, errors.New("cannot run images for hvt on this machine: this tender runs them on x86-64 only")
	}
	kvm, err := solo5.Open("/dev/kvm", unix.O_RDWR)
	if err != nil {
		return -1, fmt.Errorf("cannot run images for hvt on this machine: Could not open: /dev/kvm: %w", err)
	}
	return kvm, nil
}

// newMachine makes a machine with this memory, by what openKVM has returned, or by what it
// returns now. It closes that.
func newMachine(memory []byte, kvm int) (_ machine, err error) {
	if kvm == 0 {
		if kvm, err = openKVM(); err != nil {
			return noMachine, err
		}
	}
	defer func() { _ = unix.Close(kvm) }()
	if version, err := ioctl(kvm, kvmGetAPIVersion, 0); err != nil || version != kvmAPIVersion {
		return noMachine, fmt.Errorf("cannot run images for hvt on this machine: its KVM has version %d, not %d (%v)",
			version, kvmAPIVersion, err)
	}
	vm, err := solo5.Retry(func() (int, error) { return ioctl(kvm, kvmCreateVM, 0) })
	if err != nil {
		return noMachine, fmt.Errorf("cannot make virtual machine: %w", err)
	}
	defer func() { _ = unix.Close(vm) }()
	m := noMachine
	if err := m.furnish(kvm, vm, memory); err != nil {
		_ = m.close()
		return noMachine, err
	}
	return m, nil
}

// furnish gives the machine memory and a CPU.
func (m *machine) furnish(kvm, vm int, memory []byte) (err error) {
	region := userMemory{size: uint64(len(memory)), address: uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if err := ioctlPointer(vm, kvmSetUserMemory, unsafe.Pointer(&region)); err != nil {
		return fmt.Errorf("cannot give memory to virtual machine: %w", err)
	}
	if m.cpu, err = ioctl(vm, kvmCreateVCPU, 0); err != nil {
		m.cpu = -1
		return fmt.Errorf("cannot make virtual CPU: %w", err)
	}
	size, err := ioctl(kvm, kvmGetVCPUMmapSize, 0)
	if err != nil || size < kvmRunStructureLength {
		return fmt.Errorf("cannot share memory of %d bytes with virtual CPU: %v", size, err)
	}
	if m.shared, err = unix.Mmap(m.cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("cannot share memory with virtual CPU: %w", err)
	}
	var features cpuid
	if err := m.setCPUID(kvm, &features); err != nil {
		return fmt.Errorf("cannot set features of virtual CPU: %w", err)
	}
	if bits := features.addressBits(); uint64(len(memory)) > 1<<bits {
		return fmt.Errorf("cannot use %d MB of memory: the processor addresses %d", len(memory)/megabyte, 1<<bits/megabyte)
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

func (m *machine) close() error {
	if m.cpu < 0 {
		return nil
	}
	var err error
	if m.shared != nil {
		err = unix.Munmap(m.shared)
	}
	if closed := unix.Close(m.cpu); err == nil {
		err = closed
	}
	return err
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

// The reasons for which KVM stops, and where it tells the details.
const (
	exitIO            = 2
	exitHalted        = 5
	exitMMIO          = 6
	exitShutdown      = 8
	exitFailEntry     = 9
	exitInternalError = 17

	reasonOffset = 8
	detailOffset = 32
)

// run runs the guest until it writes to a port.
func (m *machine) run() (output, error) {
	for {
		_, err := ioctl(m.cpu, kvmRun, 0)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EFAULT:
			return output{}, errTranslation
		default:
			return output{}, fmt.Errorf("KVM cannot run it: %w", err)
		}
		if reason := binary.LittleEndian.Uint32(m.shared[reasonOffset:]); reason != exitIO {
			return output{}, m.explain(reason)
		}
		return m.output(), nil
	}
}

// output is what a guest has done to a port.
type output struct {
	port  uint16
	value uint32
	odd   bool // not an OUT of 32 bits; value is meaningless
}

// output reads:
//
//	32  u8   direction, 1 for OUT
//	33  u8   size in bytes
//	34  u16  port
//	36  u32  how many there are, for a string instruction
//	40  u64  where they are in the shared memory
func (m *machine) output() output {
	le, detail := binary.LittleEndian, m.shared[detailOffset:]
	o := output{port: le.Uint16(detail[2:])}
	at := le.Uint64(detail[8:])
	if detail[0] != 1 || detail[1] != 4 || le.Uint32(detail[4:]) != 1 || at > uint64(len(m.shared)-4) {
		o.odd = true
		return o
	}
	o.value = le.Uint32(m.shared[at:])
	return o
}

func ioctl(fd int, request, argument uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, argument)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func ioctlPointer(fd int, request uintptr, argument unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
	if errno != 0 {
		return errno
	}
	return nil
}

package hvt

import (
	"encoding/binary"
	"fmt"
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
	kvmCreateVCPU         = 0xae41
	kvmSetUserMemory      = 0x4020ae46
	kvmRun                = 0xae80
	kvmAPIVersion         = 12
	kvmRunStructureLength = 64 // as far as we read it
)

// userMemory says which memory of this process is memory of the guest.
type userMemory struct {
	slot, flags  uint32
	guestAddress uint64
	size         uint64
	address      uint64
}

// machine is a virtual machine with one CPU, as far as it is needed once it exists: the
// kernel keeps the rest as long as the CPU.
type machine struct {
	cpu       int
	shared    []byte // where KVM tells why it has stopped; the guest does not see it
	frequency uint64 // of the clock that the guest reads, in Hz
}

var noMachine = machine{cpu: -1}

func openKVM() (int, error) {
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
	return m.setUp(kvm, vm, uint64(len(memory)))
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

// run runs the guest until its next hypercall.
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
		reason := binary.LittleEndian.Uint32(m.shared[reasonOffset:])
		if reason != exitHypercall {
			return output{}, m.explain(reason)
		}
		return m.output()
	}
}

// output is what a guest has put out by what is a hypercall for its processor.
type output struct {
	place uint64 // a port, or an address, where hypercalls are
	value uint32
	odd   bool // not one value of 32 bits; value is meaningless
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

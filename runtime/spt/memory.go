package spt

import (
	"fmt"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

const megabyte = 1 << 20

// checkMemory refuses memory that is too small for the image, and memory that Linux would
// refuse only when it executes the guest, too late to say why.
func checkMemory(i *image.Image, memory uint64) error {
	if err := i.CheckMemory(memory); err != nil {
		return err
	}
	switch {
	case memory%pageSize != 0:
		return fmt.Errorf("internal error: memory of %d bytes is not a number of pages", memory)
	case memory > stubBase:
		return fmt.Errorf("cannot use %d MB of memory: Maximum guest memory size (%d MB) exceeded",
			memory/megabyte, uint64(stubBase/megabyte))
	}
	if err := tryMap(0, memory, unix.MAP_PRIVATE); err != nil {
		return fmt.Errorf("cannot reserve %d MB of memory: %w", memory/megabyte, err)
	}
	// Go links programs for arm64 to that very place: then this one shows that it can be used.
	err := tryMap(memoryBase, pageSize, unix.MAP_PRIVATE|unix.MAP_FIXED_NOREPLACE)
	if err != nil && err != unix.EEXIST {
		return fmt.Errorf("cannot map memory at %#x, see vm.mmap_min_addr: %w", uint64(memoryBase), err)
	}
	return nil
}

// tryMap maps writable memory and unmaps it again, without touching it.
func tryMap(address, size uint64, flags uintptr) error {
	got, _, errno := unix.Syscall6(unix.SYS_MMAP, uintptr(address), uintptr(size),
		unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	if _, _, errno = unix.Syscall(unix.SYS_MUNMAP, got, uintptr(size), 0); errno != 0 {
		return errno
	}
	return nil
}

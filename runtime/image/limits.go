package image

import (
	"fmt"
	"strings"
)

// What tenders refuse of a guest besides its image: said here for all of them, so that it
// is checked before anything is touched.

const (
	megabyte = 1 << 20

	// minStack is the least that must be left for the stack. Every program needs more,
	// and notices by itself.
	minStack = PageSize

	// hvtPage is the unit of memory of hvt, which does not use an incomplete one.
	hvtPage = 2 * megabyte

	// hvtMemory is how much a guest of hvt can address on x86-64: what the entries of one page of
	// our page tables cover; and hvtMemoryARM on arm64: hypercalls are behind it.
	hvtMemory    = 512 << 30
	hvtMemoryARM = 4 << 30

	// maxArguments is the size limit of a guest's arguments, joined by spaces, in bytes.
	maxArguments = 8191

	// A tender stores the size of a sector in 16 bits.
	minSectorSize = 512
	maxSectorSize = 1 << 15
)

// These texts begin with the words of Solo5's own tenders, which its tests compare.
const (
	oddSectors  = "Block size must be a multiple of 2 greater than or equal 512"
	partSectors = "Backing storage size must be block aligned"
	noSectors   = "Backing storage must be at least 1 block"
)

// DefaultSectorSize is the sector size of a block device without an explicit one.
const DefaultSectorSize = 512

// CheckMemory refuses a size of memory, in bytes, that is too small for the image or that
// cannot be addressed.
func (i *Image) CheckMemory(memory uint64) error {
	needed, usable, limit := i.End+minStack, i.Usable(memory), uint64(hvtMemory)
	if i.Architecture == ARM64 {
		limit = hvtMemoryARM
	}
	if i.Target == HVT {
		needed = (needed + hvtPage - 1) &^ (hvtPage - 1)
	}
	switch {
	case usable < needed:
		return fmt.Errorf("cannot fit image into memory: it needs %d MB, there are %d",
			(needed+megabyte-1)/megabyte, memory/megabyte)
	case i.Target == HVT && usable > limit:
		return fmt.Errorf("cannot use %d MB of memory: guest memory size %d bytes exceeds the max size %d bytes", memory/megabyte, memory, limit)
	}
	return nil
}

// Usable returns how much of a size of memory, in bytes, the guest gets. For hvt it is a
// page at least.
func (i *Image) Usable(memory uint64) uint64 {
	if i.Target == HVT {
		return max(memory&^(hvtPage-1), hvtPage)
	}
	return memory
}

// CheckArguments refuses arguments that are too long for a guest.
func CheckArguments(arguments []string) error {
	if n := len(strings.Join(arguments, " ")); n > maxArguments {
		return fmt.Errorf("cannot pass arguments: they have %d bytes, of at most %d", n, maxArguments)
	}
	return nil
}

// CheckSectorSize refuses an impossible sector size.
func CheckSectorSize(size int) error {
	switch {
	case size < minSectorSize, size&(size-1) != 0:
		return fmt.Errorf("%s: %d is no such power of two", oddSectors, size)
	case size > maxSectorSize:
		return fmt.Errorf("%s: %d is more than the %d that a tender can be told", oddSectors, size, maxSectorSize)
	}
	return nil
}

// CheckSectors refuses a block device whose length in bytes is no multiple of its sector
// size.
func CheckSectors(length uint64, size int) error {
	switch {
	case length == 0:
		return fmt.Errorf("%s (%d bytes) in size", noSectors, size)
	case length%uint64(size) != 0:
		return fmt.Errorf("%s: %d bytes are no number of sectors of %d", partSectors, length, size)
	}
	return nil
}

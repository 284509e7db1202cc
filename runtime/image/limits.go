package image

import (
	"fmt"
	"strings"
)

// What tenders refuse of a guest beside its image. It is told here for all of
// them, so that it can be checked before anything is touched.

const (
	megabyte = 1 << 20

	// minStack is what has to be left for the stack at the least; any program
	// needs more and finds out for itself.
	minStack = PageSize

	// hvtPage is the unit of memory under hvt: what does not fill one is not used.
	hvtPage = 2 * megabyte

	// maxArguments is how many bytes the arguments of a guest may have, with a
	// space between two of them.
	maxArguments = 8191

	// The size of a sector is told to a tender in 16 bits.
	minSectorSize = 512
	maxSectorSize = 1 << 15
)

// The words of Solo5's own tender, which its tests compare; what is behind them is
// ours.
const (
	oddSectors  = "Block size must be a multiple of 2 greater than or equal 512"
	partSectors = "Backing storage size must be block aligned"
	noSectors   = "Backing storage must be at least 1 block"
)

// DefaultSectorSize is that of a block device of which nothing is said.
const DefaultSectorSize = 512

// CheckMemory refuses a size of memory, in bytes, that the image does not fit
// into, or that cannot be addressed.
func (i *Image) CheckMemory(memory uint64) error {
	needed, usable := i.End+minStack, memory
	if i.Target == HVT {
		needed, usable = (needed+hvtPage-1)&^(hvtPage-1), max(memory&^(hvtPage-1), hvtPage)
	}
	switch {
	case usable < needed:
		return fmt.Errorf("cannot fit image into memory: it needs %d MB, there are %d",
			(needed+megabyte-1)/megabyte, memory/megabyte)
	case i.Target == HVT && usable > hvtLimit:
		return fmt.Errorf("cannot use %d MB of memory: at most %d can be addressed", memory/megabyte, uint64(hvtLimit/megabyte))
	}
	return nil
}

// CheckArguments refuses arguments that are longer than what a guest has for them.
func CheckArguments(arguments []string) error {
	if n := len(strings.Join(arguments, " ")); n > maxArguments {
		return fmt.Errorf("cannot pass arguments: they have %d bytes, of at most %d", n, maxArguments)
	}
	return nil
}

// CheckSectorSize refuses what cannot be the size of a sector.
func CheckSectorSize(size int) error {
	switch {
	case size < minSectorSize, size&(size-1) != 0:
		return fmt.Errorf("%s: %d is no such power of two", oddSectors, size)
	case size > maxSectorSize:
		return fmt.Errorf("%s: %d is more than the %d that a tender can be told", oddSectors, size, maxSectorSize)
	}
	return nil
}

// CheckSectors refuses a block device of length bytes that does not consist of
// sectors of a size.
func CheckSectors(length uint64, size int) error {
	switch {
	case length == 0:
		return fmt.Errorf("%s (%d bytes) in size", noSectors, size)
	case length%uint64(size) != 0:
		return fmt.Errorf("%s: %d bytes are no number of sectors of %d", partSectors, length, size)
	}
	return nil
}

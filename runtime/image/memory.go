package image

import (
	"errors"
	"fmt"
	"math/bits"
)

// Where an image may be in memory. Below the base, a tender puts the boot info and page
// tables. The limits are far above any sensible image; they keep additions of sizes and
// addresses from overflowing. The code of a guest of hvt addresses 32 bits.
const (
	base     = 0x100000
	hvtLimit = 1 << 32
	sptLimit = 1 << 40
)

// readMemory sets where the image belongs in memory.
func (e *elf) readMemory(i *Image) error {
	if i.CheckTarget() != nil {
		return nil
	}
	if err := e.readSegments(i); err != nil {
		return err
	}
	i.Entry = e.entry
	if !i.executable(i.Entry) {
		return fmt.Errorf("entry point %#x is not in executable memory", i.Entry)
	}
	return nil
}

func (e *elf) readSegments(i *Image) error {
	end := uint64(base)
	for n, p := range e.find(segmentLoad) {
		if p.memorySize == 0 && p.fileSize == 0 {
			continue
		}
		s := Segment{
			Address: p.address, MemorySize: p.memorySize, Offset: p.offset, FileSize: p.fileSize, Protection: Protection(p.flags & 7),
		}
		if err := e.checkSegment(s, p.alignment, end, i.limit()); err != nil {
			return fmt.Errorf("segment %d: %w", n, err)
		}
		if s.FileSize > 0 {
			i.Segments = append(i.Segments, s)
		}
		end = s.Address + s.MemorySize
	}
	i.End = pageUp(end)
	return nil
}

// checkSegment checks that a segment lies between the end of its predecessor and the
// limit. A segment without file contents only reserves zeroed memory, as all memory is
// that belongs to no segment: it may begin in the last page of its predecessor.
func (f file) checkSegment(s Segment, alignment, end, limit uint64) error {
	if s.FileSize > 0 {
		end = pageUp(end)
	}
	switch {
	case s.MemorySize < s.FileSize:
		return errors.New("is larger in the file than in memory")
	case s.Protection&Writable != 0 && s.Protection&Executable != 0:
		return errors.New("is writable and executable")
	case alignment&(alignment-1) != 0:
		return fmt.Errorf("alignment %d is not a power of two", alignment)
	case s.Address < base || s.Address > limit || s.MemorySize > limit-s.Address:
		return fmt.Errorf("%d bytes at %#x are not within %#x and %#x",
			s.MemorySize, s.Address, uint64(base), limit)
	case s.Address < end:
		return fmt.Errorf("%#x is in or below the segment before it", s.Address)
	}
	return f.contains("its contents", s.Offset, s.FileSize)
}

func (i *Image) limit() uint64 {
	if i.Target == HVT {
		return hvtLimit
	}
	return sptLimit
}

// executable reports whether there is code from the file at an address.
func (i *Image) executable(address uint64) bool {
	for _, s := range i.Segments {
		offset, borrow := bits.Sub64(address, s.Address, 0)
		if borrow == 0 && offset < s.FileSize && s.Protection&Executable != 0 {
			return true
		}
	}
	return false
}

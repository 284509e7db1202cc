package spt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

// The executable that becomes the guest: an ELF file in memory whose segments
// are all of guest memory, and the stub. Linux itself then sets up the guest as
// it sets up any program, and nothing is left of a tender.

// region is a range of whole pages in the memory of the new process.
type region struct {
	address    uint64
	size       uint64
	protection image.Protection

	// The first filled bytes come from the executable; the rest is zero. A region that is
	// not writable is filled completely, because Linux makes the zeroed rest of any
	// segment writable.
	filled uint64
	offset uint64

	// The contents: bytes, or else parts of the image. The executable has a hole in place
	// of the part that the stub maps.
	bytes  []byte
	copied []image.Part
	mapped image.Part
}

func (r region) end() uint64 { return r.address + r.size }

const readWrite = image.Readable | image.Writable

// pageSize is that of the kernel, in which it maps segments.
var pageSize = uint64(os.Getpagesize())

func pageUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// layout returns what is where in guest memory. If the image is shared, the stub maps as much
// of it as possible.
func layout(i *image.Image, memory uint64, bootInfo []byte, shared bool) []region {
	low := append(make([]byte, bootInfoBase-memoryBase), bootInfo...)
	regions := []region{bytesRegion(memoryBase, low, readWrite)}
	for _, s := range i.Segments {
		regions = append(zeroUntil(regions, s.FirstPage()), segmentRegion(s, shared))
	}
	return zeroUntil(regions, memory)
}

func stubRegion(stub []byte) region {
	return bytesRegion(stubBase, stub, image.Readable|image.Executable)
}

func bytesRegion(address uint64, b []byte, p image.Protection) region {
	size := pageUp(uint64(len(b)))
	return region{address: address, size: size, protection: p, filled: size, bytes: b}
}

func segmentRegion(s image.Segment, shared bool) region {
	size := s.EndPage() - s.FirstPage()
	r := region{address: s.FirstPage(), size: size, protection: s.Protection, filled: size}
	if s.Protection&image.Writable != 0 {
		r.filled = pageUp(s.Address - s.FirstPage() + s.FileSize)
	}
	r.mapped, r.copied = s.Parts(shared)
	return r
}

// zeroUntil fills the gap after the last region with zeroed memory.
func zeroUntil(regions []region, address uint64) []region {
	last := &regions[len(regions)-1]
	if last.end() == address {
		return regions
	}
	if last.protection == readWrite {
		last.size = address - last.address
		return regions
	}
	gap := region{address: last.end(), size: address - last.end(), protection: readWrite}
	return append(regions, gap)
}

// placeInFile gives each region its place in the executable, after the headers.
func placeInFile(regions []region) []region {
	offset := pageUp(elfHeaderSize + uint64(len(regions)+1)*programHeaderSize)
	for i := range regions {
		regions[i].offset = offset
		offset += regions[i].filled
	}
	return regions
}

const (
	elfHeaderSize     = 64
	programHeaderSize = 56
)

// elfHeaders returns the ELF header and the program headers: one for each region and one
// that makes the stack of the process not executable.
func elfHeaders(regions []region) []byte {
	le := binary.LittleEndian
	h := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	h = le.AppendUint16(h, 2) // type: executable at fixed addresses
	h = le.AppendUint16(h, image.Host.Machine())
	h = le.AppendUint32(h, 1)             // version
	h = le.AppendUint64(h, stubBase)      // entry
	h = le.AppendUint64(h, elfHeaderSize) // program headers
	h = le.AppendUint64(h, 0)             // no section headers
	h = le.AppendUint32(h, 0)             // flags
	h = le.AppendUint16(h, elfHeaderSize)
	h = le.AppendUint16(h, programHeaderSize)
	h = le.AppendUint16(h, uint16(len(regions)+1))
	h = append(h, make([]byte, 6)...) // sizes and number of section headers
	for _, r := range regions {
		h = append(h, programHeader(unix.PT_LOAD, r)...)
	}
	return append(h, programHeader(unix.PT_GNU_STACK, region{protection: readWrite})...)
}

func programHeader(kind uint32, r region) []byte {
	le := binary.LittleEndian
	p := le.AppendUint32(nil, kind)
	p = le.AppendUint32(p, uint32(r.protection))
	p = le.AppendUint64(p, r.offset)
	p = le.AppendUint64(p, r.address)
	p = le.AppendUint64(p, r.address) // physical
	p = le.AppendUint64(p, r.filled)
	p = le.AppendUint64(p, r.size)
	return le.AppendUint64(p, pageSize)
}

// writeExecutable writes the executable to a new file in memory and returns
// its descriptor. Segments come from the image file.
func writeExecutable(regions []region, imageFile int) (int, error) {
	fd, err := memoryFile()
	if err != nil {
		return -1, err
	}
	if err := fill(fd, regions, imageFile); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot write executable: %w", err)
	}
	return fd, nil
}

// memoryFile creates an executable file in memory. Kernels before 6.3 allow that for all
// such files and do not know the flag.
func memoryFile() (int, error) {
	const name = "albatross-spt"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, fmt.Errorf("cannot create executable in memory: %w", err)
	}
	return fd, nil
}

func fill(fd int, regions []region, imageFile int) error {
	last := regions[len(regions)-1]
	if err := unix.Ftruncate(fd, int64(last.offset+last.filled)); err != nil {
		return err
	}
	if err := writeAt(fd, elfHeaders(regions), 0); err != nil {
		return err
	}
	for _, r := range regions {
		if err := r.fill(fd, imageFile); err != nil {
			return err
		}
	}
	return nil
}

func (r region) fill(fd, imageFile int) error {
	if r.bytes != nil {
		return writeAt(fd, r.bytes, r.offset)
	}
	for _, p := range r.copied {
		if err := copyRange(fd, r.offset+p.Address-r.address, imageFile, p); err != nil {
			return err
		}
	}
	return nil
}

func writeAt(fd int, b []byte, offset uint64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, int64(offset))
		if err != nil {
			return err
		}
		b, offset = b[n:], offset+uint64(n)
	}
	return nil
}

// copyRange makes the kernel copy a part of the image to another file.
func copyRange(to int, toOffset uint64, from int, p image.Part) error {
	if _, err := unix.Seek(to, int64(toOffset), unix.SEEK_SET); err != nil {
		return err
	}
	for offset, length := int64(p.Offset), p.Size; length > 0; {
		n, err := solo5.Retry(func() (int, error) { return unix.Sendfile(to, from, &offset, int(length)) })
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("image became shorter while it was read")
		}
		length -= uint64(n)
	}
	return nil
}

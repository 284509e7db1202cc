package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// The parts of ELF64 that we read. The comments give the offsets of fields in their
// structures.
const (
	headerSize        = 64
	programHeaderSize = 56

	// Solo5's toolchain makes images with ten program headers.
	maxProgramHeaders = 64

	typeExecutable = 2 // 16: a program at fixed addresses; 18 is the machine
	currentVersion = 1 // 20

	segmentLoad    = 1
	segmentDynamic = 2
	segmentInterp  = 3
	segmentNote    = 4
)

// interpreter is the dynamic linker that an image names, so that Linux does not run it by
// accident.
const interpreter = "/nonexistent/solo5/"

// maxInterpreter bounds the padding after interpreter.
const maxInterpreter = 64

// file is the image on disk.
type file struct {
	r    io.ReaderAt
	size uint64
}

// read returns length bytes at offset; the caller has bounded length.
func (f file) read(what string, offset, length uint64) ([]byte, error) {
	if err := f.contains(what, offset, length); err != nil {
		return nil, err
	}
	data := make([]byte, length)
	n, err := f.r.ReadAt(data, int64(offset))
	if uint64(n) < length {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return data, nil
}

func (f file) contains(what string, offset, length uint64) error {
	end, carry := bits.Add64(offset, length, 0)
	if carry != 0 || end > f.size {
		return fmt.Errorf("truncated: %s is outside the file (%d bytes at %d of %d)",
			what, length, offset, f.size)
	}
	return nil
}

// elf is a file whose headers have been read.
type elf struct {
	file
	machine  Architecture
	entry    uint64
	headers  []programHeader
	sections sectionTable
}

func openELF(f file) (*elf, error) {
	if f.size < headerSize {
		return nil, errors.New("truncated: shorter than an ELF header")
	}
	h, err := f.read("ELF header", 0, headerSize)
	if err != nil {
		return nil, err
	}
	if err := checkHeader(h); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	headers, err := f.programHeaders(le.Uint64(h[32:]), le.Uint16(h[56:]))
	if err != nil {
		return nil, err
	}
	return &elf{file: f, machine: machines[le.Uint16(h[18:])], entry: le.Uint64(h[24:]), headers: headers, sections: decodeSectionTable(h)}, nil
}

// checkHeader ignores the operating system's ABI: a linker does not set it.
func checkHeader(h []byte) error {
	le := binary.LittleEndian
	switch {
	case string(h[:4]) != "\x7fELF":
		return errors.New("not an ELF file")
	case h[4] != 2 || h[5] != 1:
		return errors.New("not a 64-bit little-endian ELF file")
	case h[6] != currentVersion || le.Uint32(h[20:]) != currentVersion:
		return errors.New("unknown ELF version")
	case le.Uint16(h[16:]) != typeExecutable:
		return errors.New("not a static executable")
	case machines[le.Uint16(h[18:])] == "":
		return fmt.Errorf("for ELF machine %d, which is neither x86-64 (amd64) nor arm64", le.Uint16(h[18:]))
	case le.Uint16(h[52:]) != headerSize || le.Uint16(h[54:]) != programHeaderSize:
		return errors.New("unexpected size of ELF headers")
	case le.Uint16(h[56:]) == 0 || le.Uint16(h[56:]) > maxProgramHeaders:
		return fmt.Errorf("%d program headers, not 1 to %d", le.Uint16(h[56:]), maxProgramHeaders)
	}
	return nil
}

// programHeader is one program header.
type programHeader struct {
	kind       uint32
	flags      uint32
	offset     uint64
	address    uint64
	fileSize   uint64
	memorySize uint64
	alignment  uint64
}

func (f file) programHeaders(offset uint64, count uint16) ([]programHeader, error) {
	raw, err := f.read("program header table", offset, uint64(count)*programHeaderSize)
	if err != nil {
		return nil, err
	}
	headers := make([]programHeader, count)
	for i := range headers {
		headers[i] = decodeProgramHeader(raw[i*programHeaderSize:])
	}
	return headers, nil
}

func decodeProgramHeader(p []byte) programHeader {
	le := binary.LittleEndian
	return programHeader{
		kind:       le.Uint32(p[0:]),
		flags:      le.Uint32(p[4:]),
		offset:     le.Uint64(p[8:]),
		address:    le.Uint64(p[16:]), // 24 is the physical address: unused
		fileSize:   le.Uint64(p[32:]),
		memorySize: le.Uint64(p[40:]),
		alignment:  le.Uint64(p[48:]),
	}
}

// find returns the program headers of a kind.
func (e *elf) find(kind uint32) []programHeader {
	var found []programHeader
	for _, p := range e.headers {
		if p.kind == kind {
			found = append(found, p)
		}
	}
	return found
}

// checkStatic checks that the image needs nothing but itself to run, and names the
// interpreter that marks a Solo5 image.
func (e *elf) checkStatic(*Image) error {
	if len(e.find(segmentDynamic)) > 0 {
		return errors.New("dynamically linked")
	}
	interps := e.find(segmentInterp)
	if len(interps) != 1 {
		return fmt.Errorf("not a Solo5 image: %d interpreters, not 1", len(interps))
	}
	if interps[0].fileSize > maxInterpreter {
		return errors.New("not a Solo5 image: name of interpreter is too long")
	}
	name, err := e.read("name of interpreter", interps[0].offset, interps[0].fileSize)
	if err != nil {
		return err
	}
	if text, ok := cString(name); !ok || text != interpreter {
		return fmt.Errorf("not a Solo5 image: interpreter is not %s", interpreter)
	}
	return nil
}

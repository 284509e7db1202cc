package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// A Solo5 note has a program header of its own:
//
//	 0  u32  size of the owner's name, 6
//	 4  u32  size of the contents, alignment included
//	 8  u32  type
//	12       "Solo5\0", padded to 8 bytes
//	20       contents, aligned from the beginning of the note
const (
	noteHeaderSize = 20
	noteOwner      = "Solo5\x00"

	noteABI      = 0x31494241 // "ABI1"
	noteManifest = 0x3154464d // "MFT1"
)

// The contents of an ABI note:
//
//	0  u32  target
//	4  u32  version of the ABI
//	8       reserved
const abiSize = 16

// The contents of a manifest note, which begin 24 bytes into the note:
//
//	0  u32  version, 1
//	4  u32  number of entries, 1 to 64
//	8       entries of 104 bytes each
//
// and an entry:
//
//	 0  char[68]  name, NUL-terminated
//	68  u32       kind of device; the first entry has one of its own and no name
//	72            properties and backing, filled in by a tender
//	96  bool      attached, by a tender: false in a file
const (
	manifestVersion   = 1
	manifestAlignment = 8
	manifestHeader    = 8
	maxEntries        = 64
	entrySize         = 104
	nameSize          = 68
	attachedOffset    = 96
	kindReservedFirst = 1 << 30
	maxManifest       = manifestHeader + maxEntries*entrySize
)

// readABI sets target and ABI version.
func (e *elf) readABI(i *Image) error {
	abi, err := e.note("ABI", noteABI, 4, abiSize)
	if err != nil {
		return err
	}
	if len(abi) != abiSize {
		return fmt.Errorf("ABI note has %d bytes, not %d", len(abi), abiSize)
	}
	i.Target = Target(binary.LittleEndian.Uint32(abi))
	i.ABIVersion = binary.LittleEndian.Uint32(abi[4:])
	return nil
}

// note returns the contents of the only Solo5 note of a type. It refuses two, since
// readers could differ on which one counts.
func (e *elf) note(name string, kind uint32, alignment, limit uint64) ([]byte, error) {
	var contents []byte
	for _, p := range e.find(segmentNote) {
		c, err := e.noteIn(p, name, kind, alignment, limit)
		if err != nil {
			return nil, err
		}
		if c != nil && contents != nil {
			return nil, fmt.Errorf("more than one %s note", name)
		}
		if c != nil {
			contents = c
		}
	}
	if contents == nil {
		return nil, fmt.Errorf("not a Solo5 image: no %s note", name)
	}
	return contents, nil
}

// noteIn returns the contents of a program header's note, or nil if it is another note.
func (e *elf) noteIn(p programHeader, name string, kind uint32, alignment, limit uint64) ([]byte, error) {
	if p.fileSize < noteHeaderSize {
		return nil, nil
	}
	h, err := e.read("note", p.offset, noteHeaderSize)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint32(h) != uint32(len(noteOwner)) || string(h[12:18]) != noteOwner || le.Uint32(h[8:]) != kind {
		return nil, nil
	}
	begin := (noteHeaderSize + alignment - 1) &^ (alignment - 1)
	end := noteHeaderSize + uint64(le.Uint32(h[4:]))
	if end <= begin || end > p.fileSize || end-begin > limit { // in the words that Solo5's tests look for
		return nil, fmt.Errorf("%s note does not fall within valid size", name)
	}
	return e.read(name+" note", p.offset+begin, end-begin)
}

// readManifest sets the devices.
func (e *elf) readManifest(i *Image) error {
	m, err := e.note("manifest", noteManifest, manifestAlignment, maxManifest)
	if err != nil {
		return err
	}
	entries, err := manifestEntries(m)
	if err != nil {
		return err
	}
	seen := make(map[Device]bool)
	for n := 1; n < len(entries)/entrySize; n++ {
		d, err := decodeDevice(entries[n*entrySize:])
		if err != nil {
			return fmt.Errorf("manifest entry %d: %w", n, err)
		}
		if seen[d] {
			return fmt.Errorf("manifest entry %d: %v is declared twice", n, d)
		}
		seen[d] = true
		i.Devices = append(i.Devices, d)
	}
	return nil
}

// manifestEntries checks the frame of the manifest and returns all entries, the reserved
// one included.
func manifestEntries(m []byte) ([]byte, error) {
	if len(m) < manifestHeader {
		return nil, errors.New("manifest is too short")
	}
	le := binary.LittleEndian
	if version := le.Uint32(m); version != manifestVersion {
		return nil, fmt.Errorf("unknown manifest version %d", version)
	}
	count := le.Uint32(m[4:])
	if count < 1 || count > maxEntries {
		return nil, fmt.Errorf("manifest has %d entries, not 1 to %d", count, maxEntries)
	}
	entries := m[manifestHeader:]
	if uint64(len(entries)) != uint64(count)*entrySize {
		return nil, fmt.Errorf("manifest of %d entries has %d bytes", count, len(m))
	}
	if le.Uint32(entries[nameSize:]) != kindReservedFirst || entries[0] != 0 {
		return nil, errors.New("first manifest entry is not the reserved one")
	}
	return entries, nil
}

func decodeDevice(entry []byte) (Device, error) {
	name, ok := cString(entry[:nameSize])
	if !ok {
		return Device{}, errors.New("name is not terminated")
	}
	if !printable(name) {
		return Device{}, fmt.Errorf("name %q is empty or not printable", name)
	}
	if entry[attachedOffset] != 0 {
		return Device{}, errors.New("device is marked as attached")
	}
	kind := DeviceKind(binary.LittleEndian.Uint32(entry[nameSize:]))
	if kind != Block && kind != Net {
		return Device{}, fmt.Errorf("unknown kind of device %v", kind)
	}
	return Device{Name: name, Kind: kind}, nil
}

// cString returns the bytes before the first NUL, and whether there is one.
func cString(b []byte) (string, bool) {
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", false
	}
	return string(b[:end]), true
}

func printable(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return name != ""
}

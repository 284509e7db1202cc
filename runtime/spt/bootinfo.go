package spt

import (
	"encoding/binary"
	"strings"

	"albatross/runtime/image"
)

// What the tender passes to the guest lies below the image, which begins at 1 MB: boot
// info, manifest and command line, one after the other.
const (
	memoryBase   = 0x10000 // where guest memory begins
	bootInfoBase = memoryBase + 0x1000
	bootInfoSize = 40
)

// The boot info:
//
//	 0  u64  size of memory in bytes, counted from address 0
//	 8  u64  end of the image
//	16  u64  address of the command line
//	24  u64  address of the manifest
//	32  i32  epoll descriptor
//	36  i32  timer descriptor
//
// The end counts zeroed memory at the end of the image, which Solo5's tenders
// leave out; a guest of theirs that used it would overwrite its own variables.
func bootInfo(memory, imageEnd uint64, devices []device, arguments []string) ([]byte, error) {
	if err := image.CheckArguments(arguments); err != nil {
		return nil, err
	}
	line := strings.Join(arguments, " ")
	m := manifest(devices)
	le := binary.LittleEndian
	b := le.AppendUint64(nil, memory)
	b = le.AppendUint64(b, imageEnd)
	b = le.AppendUint64(b, bootInfoBase+bootInfoSize+uint64(len(m)))
	b = le.AppendUint64(b, bootInfoBase+bootInfoSize)
	b = le.AppendUint32(b, fdEpoll)
	b = le.AppendUint32(b, fdTimer)
	b = append(b, m...)
	return append(append(b, line...), 0), nil
}

// The manifest as the guest sees it: a header and 104 bytes for each entry, of which the
// first is reserved.
//
//	 0  char[68]  name
//	68  u32       kind
//	72  u64       capacity of a block device, or 6 bytes MAC
//	78  u16       MTU of a network
//	80  u16       sector size of a block device
//	88  i32       descriptor
//	96  bool      attached
const (
	entrySize         = 104
	kindReservedFirst = 1 << 30
	manifestVersion   = 1
)

func manifest(devices []device) []byte {
	le := binary.LittleEndian
	m := le.AppendUint32(nil, manifestVersion)
	m = le.AppendUint32(m, uint32(len(devices)+1))
	first := make([]byte, entrySize)
	le.PutUint32(first[68:], kindReservedFirst)
	m = append(m, first...)
	for i, d := range devices {
		m = append(m, d.entry(fdDevices+i)...)
	}
	return m
}

func (d device) entry(fd int) []byte {
	le := binary.LittleEndian
	e := make([]byte, entrySize)
	copy(e, d.name)
	le.PutUint32(e[68:], uint32(d.kind))
	if d.kind == image.Block {
		le.PutUint64(e[72:], d.capacity)
		le.PutUint16(e[80:], d.sectorSize)
	} else {
		copy(e[72:], d.mac[:])
		le.PutUint16(e[78:], d.mtu)
	}
	le.PutUint32(e[88:], uint32(fd))
	e[96] = 1
	return e
}

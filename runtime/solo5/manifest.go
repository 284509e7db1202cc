package solo5

import (
	"encoding/binary"

	"albatross/runtime/image"
)

// The manifest as the guest sees it: a header of 8 bytes, and 104 bytes for each entry, of
// which the first is reserved.
//
//	 0  char[68]  name
//	68  u32       kind
//	72  u64       capacity of a block device, or 6 bytes MAC
//	78  u16       MTU of a network
//	80  u16       sector size of a block device
//	88  i32       descriptor, for spt
//	96  bool      attached
const (
	entrySize         = 104
	kindReservedFirst = 1 << 30
	manifestVersion   = 1
)

// Manifest returns the manifest of a guest with these devices. Descriptor returns what the
// entry of the device at an index has as its descriptor.
func Manifest(devices []Device, descriptor func(index int) int32) []byte {
	le := binary.LittleEndian
	m := le.AppendUint32(nil, manifestVersion)
	m = le.AppendUint32(m, uint32(len(devices)+1))
	first := make([]byte, entrySize)
	le.PutUint32(first[68:], kindReservedFirst)
	m = append(m, first...)
	for i, d := range devices {
		m = append(m, d.entry(descriptor(i))...)
	}
	return m
}

func (d Device) entry(descriptor int32) []byte {
	le := binary.LittleEndian
	e := make([]byte, entrySize)
	copy(e, d.Name)
	le.PutUint32(e[68:], uint32(d.Kind))
	if d.Kind == image.Block {
		le.PutUint64(e[72:], d.Capacity)
		le.PutUint16(e[80:], d.SectorSize)
	} else {
		copy(e[72:], d.MAC[:])
		le.PutUint16(e[78:], d.MTU)
	}
	le.PutUint32(e[88:], uint32(descriptor))
	e[96] = 1
	return e
}

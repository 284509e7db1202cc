package guests

import (
	"encoding/binary"
	"fmt"
)

// Segment is a segment that Grow adds to an image. It must lie above the ones before it.
type Segment struct {
	Address    uint64
	Contents   []byte
	MemorySize uint64 // 0: as much as there are contents
	Flags      uint32 // of an ELF program header: 1 executable, 2 writable, 4 readable
	Odd        bool   // file and memory are divided into pages in different ways
}

// Grow returns the image of one of our programs with more segments.
func Grow(image []byte, segments ...Segment) []byte {
	const headers, headerSize, pageSize = 64, 56, 4096
	le := binary.LittleEndian
	image = append([]byte(nil), image...)
	count := int(le.Uint16(image[56:]))
	if headers+headerSize*(count+len(segments)) > pageSize {
		panic(fmt.Sprintf("internal error: no place for %d program headers", count+len(segments)))
	}
	for i, s := range segments {
		offset := (uint64(len(image))+pageSize-1)/pageSize*pageSize + s.Address%pageSize
		if s.Odd {
			offset += 8
		}
		image = append(image, make([]byte, offset-uint64(len(image)))...)
		image = append(image, s.Contents...)
		size := uint64(len(s.Contents))
		h := le.AppendUint32(nil, 1) // a segment to load
		h = le.AppendUint32(h, s.Flags)
		for _, field := range []uint64{offset, s.Address, s.Address, size, max(size, s.MemorySize), pageSize} {
			h = le.AppendUint64(h, field)
		}
		copy(image[headers+headerSize*(count+i):], h)
	}
	le.PutUint16(image[56:], uint16(count+len(segments)))
	return image
}

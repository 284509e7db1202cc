package history

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// headerSize is the size of a frame's header, in this order, the lowest byte first:
//
//	8 bytes  when the bytes came, in Unix nanoseconds
//	4 bytes  how many they are
//	4 bytes  CRC-32 (IEEE) of the twelve before
//
// The bytes follow. The end of the file may cut off the last frame.
const headerSize = 16

func appendHeader(b []byte, size int, at time.Time) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.UnixNano()))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

func appendFrame(b, raw []byte, at time.Time) []byte {
	return append(appendHeader(b, len(raw), at), raw...)
}

func parseHeader(b []byte) (at time.Time, size int, ok bool) {
	if len(b) < headerSize || binary.LittleEndian.Uint32(b[12:]) != crc32.ChecksumIEEE(b[:12]) {
		return at, 0, false
	}
	nanos := int64(binary.LittleEndian.Uint64(b))
	return time.Unix(0, nanos).UTC(), int(binary.LittleEndian.Uint32(b[8:])), true
}

package spt

import (
	"encoding/binary"
	"strings"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
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
func bootInfo(memory, imageEnd uint64, devices []solo5.Device, arguments []string) ([]byte, error) {
	if err := image.CheckArguments(arguments); err != nil {
		return nil, err
	}
	line := strings.Join(arguments, " ")
	m := solo5.Manifest(devices, func(i int) int32 { return int32(fdDevices + i) })
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

package hvt

import (
	"encoding/binary"
	"strings"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

// What lies below the image, which begins at 1 MB, besides page tables. The guest sees the boot info only, with
// the manifest and the command line behind it, and can only read that; and its stack, if that
// is here.
const (
	bootInfoBase = 0x10000
	bootInfoEnd  = 0x18000
	lowStackEnd  = 0x20000 // below it, nothing is mapped
	imageBase    = 0x100000
)

// argumentLimit bounds the address of a hypercall's argument, which has 32 bits. Guests have
// arguments on their stack, which is at the end of memory. Where that is above the limit, the
// stack is below the image instead: the guest is told no more of it than the stack pointer, and
// uses all memory behind the image as its heap.
const argumentLimit = 1 << 32

// The boot info:
//
//	 0  u64  size of memory in bytes
//	 8  u64  end of the image
//	16  u64  cycles per second of the clock of the processor
//	24  u64  address of the command line
//	32  u64  address of the manifest
//	40  u32  what the tender offers beyond the hypercalls: nothing
//	44  u32  what of that the guest uses
//	48  u64  address of a ring of frames: none
//
// The end counts zeroed memory at the end of the image, as for spt.
const bootInfoSize = 56

func bootInfo(memory, imageEnd, frequency uint64, devices []solo5.Device, arguments []string) ([]byte, error) {
	if err := image.CheckArguments(arguments); err != nil {
		return nil, err
	}
	m := solo5.Manifest(devices, func(int) int32 { return -1 })
	le := binary.LittleEndian
	b := le.AppendUint64(nil, memory)
	b = le.AppendUint64(b, imageEnd)
	b = le.AppendUint64(b, frequency)
	b = le.AppendUint64(b, bootInfoBase+bootInfoSize+uint64(len(m)))
	b = le.AppendUint64(b, bootInfoBase+bootInfoSize)
	b = append(b, make([]byte, bootInfoSize-len(b))...)
	b = append(b, m...)
	return append(append(b, strings.Join(arguments, " ")...), 0), nil
}

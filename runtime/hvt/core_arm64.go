package hvt

import "encoding/binary"

// statusSize is the size of a struct elf_prstatus.
const statusSize = 392

// status returns the registers as a struct elf_prstatus of Linux, whose other fields are of
// no use here. Guests of Solo5 do not tell the registers at a trap here.
func (s state) status([]byte) []byte {
	const registersOffset = 112
	status := make([]byte, registersOffset, statusSize)
	for _, r := range append(s.x[:], s.sp, s.pc, s.pstate) {
		status = binary.LittleEndian.AppendUint64(status, r)
	}
	return status[:statusSize]
}

package hvt

import "encoding/binary"

// statusSize is the size of a struct elf_prstatus.
const statusSize = 336

// status returns the registers as a struct elf_prstatus of Linux, whose other fields are of
// no use here. Trapped are those of a trap frame: cr2, error code, rip, cs, rflags, rsp, ss.
func (s state) status(trapped []byte) []byte {
	const registersOffset = 112
	rip, cs, rflags, rsp, ss := s.rip, uint64(s.cs.selector), s.rflags, s.rsp, uint64(s.ss.selector)
	le := binary.LittleEndian
	if trapped != nil {
		rip, cs, rflags = le.Uint64(trapped[16:]), le.Uint64(trapped[24:]), le.Uint64(trapped[32:])
		rsp, ss = le.Uint64(trapped[40:]), le.Uint64(trapped[48:])
	}
	status := make([]byte, registersOffset, statusSize)
	for _, r := range []uint64{
		s.r15, s.r14, s.r13, s.r12, s.rbp, s.rbx, s.r11, s.r10, s.r9, s.r8, s.rax, s.rcx, s.rdx, s.rsi, s.rdi,
		0, rip, cs, rflags, rsp, ss, s.fs.base, s.gs.base,
		uint64(s.ds.selector), uint64(s.es.selector), uint64(s.fs.selector), uint64(s.gs.selector),
	} {
		status = le.AppendUint64(status, r)
	}
	return status[:statusSize]
}

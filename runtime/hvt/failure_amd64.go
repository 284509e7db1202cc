package hvt

import "fmt"

// where returns where the guest has failed.
func (s state) where() string { return fmt.Sprintf("rip=%#x", s.rip) }

func (s state) String() string {
	return fmt.Sprintf(`rax=%#x rbx=%#x rcx=%#x rdx=%#x
rsi=%#x rdi=%#x rsp=%#x rbp=%#x
r8=%#x r9=%#x r10=%#x r11=%#x
r12=%#x r13=%#x r14=%#x r15=%#x
rflags=%#x cs=%#x ss=%#x cr0=%#x cr2=%#x cr3=%#x cr4=%#x`,
		s.rax, s.rbx, s.rcx, s.rdx, s.rsi, s.rdi, s.rsp, s.rbp,
		s.r8, s.r9, s.r10, s.r11, s.r12, s.r13, s.r14, s.r15,
		s.rflags, s.cs.selector, s.ss.selector, s.cr0, s.cr2, s.cr3, s.cr4)
}

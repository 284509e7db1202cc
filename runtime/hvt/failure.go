package hvt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errTranslation is that the guest touched memory that it does not have, or wrote to memory
// that it cannot write. The words are those of Solo5's tender, which its tests compare.
var errTranslation = errors.New("host/guest translation fault")

// explain says why KVM cannot let the guest run any further.
func (m *machine) explain(reason uint32) error {
	le, detail := binary.LittleEndian, m.shared[detailOffset:]
	switch reason {
	case exitMMIO:
		return fmt.Errorf("%w at %#x", errTranslation, le.Uint64(detail))
	case exitShutdown:
		return errors.New("triple fault, an exception that it does not handle")
	case exitHalted:
		return errors.New("it halted its CPU")
	case exitFailEntry:
		return fmt.Errorf("the processor refuses its state: reason %#x", le.Uint64(detail))
	case exitInternalError:
		return fmt.Errorf("KVM has an internal error: suberror %d", le.Uint32(detail))
	}
	return fmt.Errorf("KVM stopped it: reason %d", reason)
}

// failure is why a guest ended that did not want to.
type failure struct {
	why   error
	state state
}

func (f *failure) Error() string {
	return fmt.Sprintf("cannot continue unikernel: %v: rip=%#x\n%v", f.why, f.state.rip, f.state)
}

func (f *failure) Unwrap() error { return f.why }

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

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
	case exitShutdown: // of x86-64
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
	return fmt.Sprintf("cannot continue unikernel: %v: %s\n%v", f.why, f.state.where(), f.state)
}

func (f *failure) Unwrap() error { return f.why }

package hvt

import (
	"fmt"
	"strings"
)

// where returns where the guest has failed.
func (s state) where() string { return fmt.Sprintf("pc=%#x", s.pc) }

func (s state) String() string {
	var b strings.Builder
	for n, value := range s.x {
		separator := " "
		if n%4 == 3 {
			separator = "\n"
		}
		fmt.Fprintf(&b, "x%d=%#x%s", n, value, separator)
	}
	fmt.Fprintf(&b, "sp=%#x\npstate=%#x esr=%#x far=%#x elr=%#x", s.sp, s.pstate, s.esr, s.far, s.elr)
	return b.String()
}

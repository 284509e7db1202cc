package commandline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// CheckTexts refuses options with an empty value, as in --crl "$CRL" without that
// variable: that is not the same as no option. It also refuses control characters, which
// no file or address contains. empty names options that may be empty.
func CheckTexts(flags *pflag.FlagSet, empty ...string) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.Type() != "string" || err != nil {
			return
		}
		value := f.Value.String()
		switch {
		case value == "" && !slices.Contains(empty, f.Name):
			err = fmt.Errorf("option '--%s' is empty: give a value, or leave it out", f.Name)
		case strings.ContainsFunc(value, isControl):
			err = fmt.Errorf("option '--%s' contains a control character: %q", f.Name, value)
		}
	})
	return err
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

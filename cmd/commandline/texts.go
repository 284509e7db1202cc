// Package commandline reads what the command lines of all programs have in common.
package commandline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// CheckTexts refuses options that are given and say nothing, as
// --crl "$CRL" does where CRL is not set: that is not to leave the option out. Files
// and addresses have no control characters either. Options that may be empty are
// named.
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

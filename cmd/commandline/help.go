package commandline

import (
	"slices"
	"strconv"

	"github.com/spf13/pflag"
)

// RegisterHelp accepts --help with a format, as native programs do, but always shows
// plain text.
func RegisterHelp(flags *pflag.FlagSet) {
	flags.VarPF(new(help), "help", "h", "show what the options are; also --help=plain").NoOptDefVal = "auto"
}

// A help says whether help was requested. Cobra asks for a bool.
type help bool

func (h *help) Type() string   { return "bool" }
func (h *help) String() string { return strconv.FormatBool(bool(*h)) }

func (h *help) Set(format string) (err error) {
	if slices.Contains([]string{"auto", "plain", "pager", "groff"}, format) {
		format = "true"
	}
	wanted, err := strconv.ParseBool(format)
	*h = help(wanted)
	return err
}

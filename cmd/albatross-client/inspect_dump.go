package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"albatross/cmd/nativestate"
	"albatross/sockets/wire"
)

func inspectDumpCommand(d *daemon, out *printer) *cobra.Command {
	file := nativestate.File
	c := &cobra.Command{
		Use:   "inspect-dump",
		Short: "Show what a state file of native albatross contains",
		Long: `Show the unikernels and policies in a state file of native albatross, such as 'export-state'
writes. No daemon is asked. Arguments of unikernels, which may be secrets, are shown with -v.`,
		Example: "  albatross-client inspect-dump --dbdir=/var/lib/albatross\n  albatross-client inspect-dump --file=./state",
		Args:    positional(),
		RunE: func(*cobra.Command, []string) error {
			state, err := readDump(d, file)
			if err != nil {
				return err
			}
			return out.print(dumpText(out, state))
		},
	}
	registerDump(c.Flags(), &file)
	return c
}

// dumpText shows a state in native's words.
func dumpText(out *printer, s wire.State) string {
	lines := []string{fmt.Sprintf("parsed %d unikernels:", len(s.Unikernels))}
	for _, u := range s.Unikernels {
		lines = append(lines, nameText(u.Name)+": "+configText(u.Config, out.showsArguments()))
	}
	lines = append(lines, fmt.Sprintf("parsed %d policies:", len(s.Policies)))
	for _, p := range s.Policies {
		lines = append(lines, policyText(p))
	}
	return strings.Join(lines, "\n")
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"albatross/cmd/nativestate"
	"albatross/messages"
)

func extractDumpCommand(d *daemon, out *printer) *cobra.Command {
	file := nativestate.File
	to := output{}
	c := about(nameArgument, &cobra.Command{
		Use:   "extract-dump",
		Short: "Write an image in a state file of native albatross to a file",
		Long: `Write the image of a unikernel in a state file of native albatross to a file of its own, and
show what the unikernel is started with. No daemon is asked.`,
		Example: "  albatross-client extract-dump hello --dbdir=/var/lib/albatross -o hello.hvt",
	}, func(_ *cobra.Command, name messages.Name) error { return extractDump(d, out, file, name, &to) })
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeDump(d, file, args), cobra.ShellCompDirectiveNoFileComp
	}
	registerDump(c.Flags(), &file)
	to.register(c.Flags(), out.stdout)
	return c
}

func extractDump(d *daemon, out *printer, file string, name messages.Name, to *output) error {
	state, err := readDump(d, file)
	if err != nil {
		return err
	}
	for _, u := range state.Unikernels {
		if u.Name == name {
			return extract(out, u, to)
		}
	}
	return inputError(fmt.Sprintf("unikernel not found: there is no %s in the dump. 'albatross-client inspect-dump' shows which there are.",
		shortName(name)))
}

func extract(out *printer, u messages.NamedConfig, to *output) error {
	path, err := to.save(u.Name, nativestate.Image(u.Config))
	if err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return tell(to, func() error {
		return out.print("dumped image to " + escape(path) + "\n" + configText(u.Config, out.showsArguments()))
	})
}

// completeDump returns the names of unikernels in a state file.
func completeDump(d *daemon, file string, args []string) (names []cobra.Completion) {
	state, err := readDump(d, file)
	if err != nil || len(args) > 0 {
		return nil
	}
	for _, u := range state.Unikernels {
		names = append(names, shortName(u.Name))
	}
	return names
}

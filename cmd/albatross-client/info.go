package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func infoCommand(d *daemon, out *printer, inv inventory, complete completer) *cobra.Command {
	var name messages.Name
	var all bool
	c := &cobra.Command{
		Use:     "info [" + nameArgument + "]",
		Aliases: []string{"ps", "ls"},
		Short:   "Show unikernels",
		Long: `Show unikernels: a list, or all that is known of one. CPU is the time that it has used since
it was started, and MEMORY what it uses of what it may. With --all those that have ended are
listed as well, as long as their consoles are kept. Arguments, which may be secrets, are shown
with --verbose only. A daemon on another machine, and a native one, tell only what runs.`,
		Example: `  albatross-client info
  albatross-client info web:site
  albatross-client info --all --output=json`,
		Args:              atMost(nameArgument),
		ValidArgsFunction: complete.names,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				if c.Flags().Changed("name") {
					return usageError("give the name once")
				}
				if name, err = parseArgument(nameArgument, messages.ParseName, args[0]); err != nil {
					return err
				}
			}
			if out.format == nativeFormat {
				return lister{d, out, inv}.nativeInfo(c.Context(), name)
			}
			return lister{d, out, inv}.showStatuses(c.Context(), name, all)
		},
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n", "only this one; with ':' at the end, all below that path")
	c.Flags().BoolVarP(&all, "all", "a", false, "also those that have ended")
	return c
}

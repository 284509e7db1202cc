package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/wire"
)

func (a *app) infoCommand() *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "info",
		Short: "Show the unikernels that run",
		Long: `Show the unikernels that run. Their arguments, which may be secrets, are shown with
--verbose only.`,
		Args: positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), name, wire.OldestInfo())
		},
	}
	c.Flags().VarP(one("NAME", messages.ParseName, &name), "name", "n",
		"only this one; with ':' at the end, all below that path")
	return c
}

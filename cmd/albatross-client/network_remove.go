package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func networkRemoveCommand(d *daemon, complete completer) *cobra.Command {
	return &cobra.Command{
		Use:               "remove " + networkArgument,
		Aliases:           []string{"rm"},
		Short:             "Remove a network that no unikernel uses",
		Args:              positional(networkArgument),
		ValidArgsFunction: complete.networks,
		RunE: func(c *cobra.Command, args []string) error {
			return d.onControl(c.Context(), args[0], messages.NetworkRemove{}, "removed network")
		},
	}
}

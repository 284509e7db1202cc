package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func blockCommand(inv inventory) *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "block",
		Short: "Show the block devices",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return inv.list(c.Context(), name, "block device", messages.BlockList{})
		},
	}
	c.Flags().Var(one("NAME", messages.ParseName, &name), "name", "only this one; with ':' at the end, all below that path")
	return c
}

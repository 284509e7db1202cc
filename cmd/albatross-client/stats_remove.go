package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func statsRemoveCommand(d *daemon, out *printer) *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "stats-remove",
		Short: "End what stats-add has begun",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return askStats(c.Context(), d, out, name, messages.StatsRemove{})
		},
	}
	registerStatsName(c.Flags(), &name, "what it is called")
	return c
}

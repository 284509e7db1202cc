package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func statsCommand(d *daemon, out *printer, inv inventory) *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "stats",
		Short: "Follow what unikernels use, until interrupted",
		Long: `Follow what unikernels use, until interrupted: of CPUs and memory, and what passes
through their network interfaces, which is counted as seen from the host.

With --output=json every line is an object with the members name, rusage, memory and
interfaces. Their members are called as in the text. Times that have been used, and
runtime, are in microseconds, virtual-size is in bytes, and other memory in pages.`,
		Args: positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return statsFollower{d, out, inv}.followStats(c.Context(), name)
		},
	}
	registerStatsName(c.Flags(), &name, "only this one; with ':' at the end, all below that path")
	return c
}

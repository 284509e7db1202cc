package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func startCommand(d *daemon, complete completer, watch watcher) *cobra.Command {
	var noWait bool
	c := complete.aboutUnikernels(&cobra.Command{
		Use:   "start",
		Short: "Start stopped unikernels",
		Long: `Start unikernels that 'stop' has stopped, as they were. One that cannot be started, or exits
with 1 in its first second, stays stopped.`,
	}, func(c *cobra.Command, name messages.Name) error {
		return watch.start(c.Context(), name, noWait, func() error {
			return d.onControl(c.Context(), name.String(), messages.StartRequest{}, "started unikernel")
		})
	})
	c.ValidArgsFunction = complete.stopped
	registerNoWait(c.Flags(), &noWait)
	return c
}

package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func destroyCommand(d *daemon, complete completer) *cobra.Command {
	return complete.aboutUnikernels(&cobra.Command{
		Use:     "destroy",
		Aliases: []string{"rm"},
		Short:   "Stop unikernels and forget them",
	}, func(c *cobra.Command, name messages.Name) error {
		return d.ask(c.Context(), name, messages.UnikernelDestroy{})
	})
}

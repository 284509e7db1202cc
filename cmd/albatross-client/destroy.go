package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) destroyCommand() *cobra.Command {
	return a.aboutUnikernels(&cobra.Command{
		Use:     "destroy",
		Aliases: []string{"rm"},
		Short:   "Stop unikernels and forget them",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.ask(c.Context(), name, messages.UnikernelDestroy{})
	})
}

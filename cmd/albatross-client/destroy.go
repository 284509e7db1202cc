package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) destroyCommand() *cobra.Command {
	return a.aboutUnikernel(&cobra.Command{
		Use:   "destroy",
		Short: "Stop a unikernel and forget it",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.ask(c.Context(), name, messages.UnikernelDestroy{})
	})
}

package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) destroyCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "destroy " + nameArgument,
		Short:             "Stop a unikernel and forget it",
		Args:              positional(nameArgument),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(nameArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			return a.ask(c.Context(), name, messages.UnikernelDestroy{})
		},
	}
}

package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func destroyBlockCommand(d *daemon, complete completer) *cobra.Command {
	return complete.aboutBlock(&cobra.Command{
		Use:   "destroy-block",
		Short: "Remove a block device and its contents",
	}, func(c *cobra.Command, name messages.Name) error {
		return d.ask(c.Context(), name, messages.BlockRemove{})
	})
}

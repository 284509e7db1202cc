package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func reserveBlockCommand(d *daemon, complete completer) *cobra.Command {
	return complete.aboutBlock(&cobra.Command{
		Use:   "reserve-block",
		Short: "Keep all the room on the disk for a block device",
		Long: `Keep all the room on the disk for a block device, so that what is written to it always
fits. It keeps it when it gets other contents.`,
	}, func(c *cobra.Command, name messages.Name) error {
		return d.onControl(c.Context(), name.String(), messages.BlockReserve{}, reservedBlock)
	})
}

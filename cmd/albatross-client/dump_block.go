package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func dumpBlockCommand(d *daemon, out *printer, complete completer, down downloader) *cobra.Command {
	var level messages.Option[int]
	to := output{}
	c := complete.aboutBlock(&cobra.Command{
		Use:     "dump-block",
		Short:   "Write the contents of a block device to a file in the temporary directory, or to that of -o",
		Example: "  albatross-client dump-block web:data -o - | gzip >data.gz",
	}, func(c *cobra.Command, name messages.Name) error {
		return down.dumpBlock(c.Context(), name, d.compression(level), &to)
	})
	to.register(c.Flags(), out.stdout)
	registerLevel(c.Flags(), &level)
	return c
}

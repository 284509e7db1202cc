package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func getCommand(d *daemon, out *printer, complete completer, down downloader) *cobra.Command {
	var level messages.Option[int]
	to := output{}
	c := complete.aboutUnikernel(&cobra.Command{
		Use:     "get",
		Short:   "Write the image of a unikernel to a file in the temporary directory, or to that of -o",
		Example: "  albatross-client get web:site -o site.hvt",
	}, func(c *cobra.Command, name messages.Name) error {
		return down.get(c.Context(), name, messages.UnikernelGet{Form: 3, Level: d.compression(level)}, &to)
	})
	to.register(c.Flags(), out.stdout)
	c.Flags().Var(maybe("LEVEL", parseLevel, &level), "compression-level", "have the image compressed, 0 (not) to 9 (most)"+levelDefault)
	return c
}

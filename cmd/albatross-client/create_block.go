package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func createBlockCommand(d *daemon, out *printer, up uploader) *cobra.Command {
	var (
		path  string
		level messages.Option[int]
		thick bool
	)
	c := &cobra.Command{
		Use:   "create-block " + blockArgument + " " + sizeArgument,
		Short: "Create a block device of this many MB",
		Long: `Create a block device of this many MB, or of a size with a unit: 64M, 1G. It takes room
on the disk as it is written to; with --thick all its room is kept for it from the
beginning.`,
		Args: positional(blockArgument, sizeArgument),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(blockArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			size, err := parseArgument(sizeArgument, megabytes(parsePositive), args[1])
			if err != nil {
				return err
			}
			if thick && (d.destination.csr || d.socket != "") {
				return inputError("--thick is not possible with --socket or --csr: create the block device, and use 'reserve-block'")
			}
			if path == "" {
				if level.OK {
					out.message(warning, "--compression-level has no effect without --data")
				}
				err = d.ask(c.Context(), name, messages.BlockAdd{Size: size})
			} else {
				err = up.createFrom(c.Context(), name, size, path, d.compression(level))
			}
			if err != nil || !thick {
				return err
			}
			return d.onControl(c.Context(), name.String(), messages.BlockReserve{}, reservedBlock)
		},
	}
	c.Flags().Var(one("FILE", parseFile, &path), "data", "put the contents of this file into it")
	c.Flags().BoolVar(&thick, "thick", false, "keep all its room on the disk for it")
	registerLevel(c.Flags(), &level)
	return c
}

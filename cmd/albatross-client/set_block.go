package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func setBlockCommand(d *daemon, complete completer, up uploader) *cobra.Command {
	var level messages.Option[int]
	var force bool
	c := &cobra.Command{
		Use:               "set-block " + blockArgument + " " + fileArgument,
		Short:             "Replace the contents of a block device by those of a file",
		Args:              positional(blockArgument, fileArgument),
		ValidArgsFunction: complete.blockAndFile,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(blockArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			path, err := parseArgument(fileArgument, parseFile, args[1])
			if err != nil {
				return err
			}
			file, err := openContents(path)
			if err != nil {
				return err
			}
			defer file.Close()
			if err := wipes(file, force); err != nil {
				return err
			}
			return up.setBlock(c.Context(), name, file, d.compression(level))
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "also where the file is empty, which leaves nothing but zeros")
	registerLevel(c.Flags(), &level)
	return c
}

// wipes refuses empty contents, which would wipe the device.
func wipes(file *contents, force bool) error {
	nothing, err := file.empty()
	if err == nil && nothing && !force {
		err = inputError(escape(file.path) + " is empty: nothing would be left in the block device. Give --force to wipe it.")
	}
	return err
}

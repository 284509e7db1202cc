package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

const newNameArgument = "NEW-NAME"

func renameCommand(d *daemon, complete completer) *cobra.Command {
	return &cobra.Command{
		Use:   "rename " + nameArgument + " " + newNameArgument,
		Short: "Give a stopped unikernel another name",
		Long: `Give a stopped unikernel another name, also at another path, as far as policies allow it there.
It keeps its image, its arguments, its MAC addresses and what follows from them; if it has block
devices, it must stay at its path. Its console, and how it has ended, stay under the former name.`,
		Example:           "  albatross-client stop web:site && albatross-client rename web:site web:old",
		Args:              positional(nameArgument, newNameArgument),
		ValidArgsFunction: complete.rename,
		RunE: func(c *cobra.Command, args []string) error {
			to, err := parseArgument(newNameArgument, messages.ParseName, args[1])
			if err != nil {
				return err
			}
			return d.onControl(c.Context(), args[0], messages.RenameRequest{To: to}, "renamed unikernel")
		},
	}
}

package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

const versionArgument = "VERSION"

func rollbackCommand(d *daemon, complete completer, watch watcher) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use:   "rollback " + nameArgument + " [" + versionArgument + "]",
		Short: "Replace a unikernel by a former version",
		Long: `Replace a unikernel by a former version: image and arguments, as 'history' lists them, the last one
if none is given. It is a replacement like any other: if it fails, what runs now is started again.`,
		Example: "  albatross-client rollback web:site\n  albatross-client rollback web:site 3",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return positional(nameArgument)(c, args)
			}
			return positional(nameArgument, versionArgument)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(nameArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			number := 1
			if len(args) > 1 {
				if number, err = parseArgument(versionArgument, parsePositive, args[1]); err != nil {
					return err
				}
			}
			return watch.start(c.Context(), name, noWait, func() error {
				return d.onControl(c.Context(), name.String(), messages.RollbackRequest{Number: number}, "rolled back unikernel")
			})
		},
	}
	c.ValidArgsFunction = complete.firstName
	registerNoWait(c.Flags(), &noWait)
	return c
}

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func inactiveConsolesCommand(d *daemon, inv inventory) *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "inactive-consoles",
		Short: "Show the consoles of unikernels that are gone",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			conn, answer, err := d.open(c.Context(), messages.Name{Path: path}, messages.ConsoleListInactive{})
			if err != nil {
				return err
			}
			asked := messages.Name{Path: path}
			return errors.Join(inv.showList(asked, "inactive console", conn.Name(), answer), conn.Close())
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "only those at and below this path")
	return c
}

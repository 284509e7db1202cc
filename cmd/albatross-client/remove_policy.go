package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func removePolicyCommand(d *daemon) *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "remove-policy",
		Short: "Remove the policy of a path, by default one that was set for the root",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return d.ask(c.Context(), messages.Name{Path: path}, messages.PolicyRemove{})
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "the path that has the policy")
	return c
}

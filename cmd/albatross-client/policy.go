package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) policyCommand() *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show the policies, which limit what may run",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), messages.Name{Path: path}, messages.PolicyInfo{})
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "only those at and below this path")
	return c
}

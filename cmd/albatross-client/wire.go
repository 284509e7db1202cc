package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"albatross/cmd/albatross-client/wirecmd"
)

func wireCommand(stdin io.Reader, out *printer) *cobra.Command {
	kind := wirecmd.Kinds()[0]
	c := &cobra.Command{
		Use:   "wire",
		Short: "Show messages, given in hexadecimal on standard input, as JSON",
		Args:  positional(),
		RunE: func(*cobra.Command, []string) error {
			return wirecmd.Run(stdin, out.stdout, kind)
		},
	}
	c.Flags().Var(one("KIND", parseKind, &kind), "kind", "what they are: "+strings.Join(wirecmd.Kinds(), ", "))
	return c
}

func parseKind(s string) (string, error) {
	if !slices.Contains(wirecmd.Kinds(), s) {
		return "", fmt.Errorf("invalid value '%s', expected one of %s", escape(s), strings.Join(wirecmd.Kinds(), ", "))
	}
	return s, nil
}

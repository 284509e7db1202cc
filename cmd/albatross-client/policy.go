package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func policyCommand(d *daemon, out *printer, inv inventory) *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show the policies, which limit what may run",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			if d.destination.address != "" {
				return remotePolicies(c.Context(), d, out, inv, path)
			}
			return inv.list(c.Context(), messages.Name{Path: path}, "policy", messages.PolicyInfo{})
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "only those at and below this path")
	return c
}

// remotePolicies shows the policies at and below a path that is itself below that of
// the certificate. An endpoint answers for all below the latter only.
func remotePolicies(ctx context.Context, d *daemon, out *printer, inv inventory, path messages.Path) error {
	about, answer, err := d.answer(ctx, messages.Name{}, messages.PolicyInfo{})
	policies, err := as[messages.SuccessPolicies](about, answer, err)
	if err != nil {
		return err
	}
	at := messages.Name{Path: path}
	policies.List = slices.DeleteFunc(policies.List, func(p messages.NamedPolicy) bool { return !at.Covers(p.Name) })
	for i, p := range policies.List {
		policies.List[i].Name = at.Relative(p.Name)
	}
	if err := out.show(inFull(about.Path, at), policies); err != nil {
		return err
	}
	inv.warnNothing(at, "policy", len(policies.List) == 0)
	return nil
}

package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"albatross/actors/ledger"
	"albatross/messages"
)

const (
	pathArgument  = "PATH"
	countArgument = "UNIKERNELS"
)

func addPolicyCommand(d *daemon, out *printer) *cobra.Command {
	p := messages.Policy{Memory: 512}
	c := &cobra.Command{
		Use:     "add-policy " + pathArgument + " " + countArgument,
		Aliases: []string{"replace-policy"},
		Short:   "Limit what may run at and below a path, to this many unikernels",
		Example: "  albatross-client add-policy org:web 5 --mem=256 --cpu=0 --cpu=1 --block=100 --bridge=service",
		Args:    positional(pathArgument, countArgument),
		RunE: func(c *cobra.Command, args []string) (err error) {
			path, err := parseArgument(pathArgument, messages.ParsePath, args[0])
			if err != nil {
				return err
			}
			p.Unikernels, err = parseArgument(countArgument, parseInteger, args[1])
			if err != nil {
				return err
			}
			if err := checkPolicy(out, &p); err != nil {
				return err
			}
			if err := d.ask(c.Context(), messages.Name{Path: path}, messages.PolicyAdd{Policy: p}); err != nil {
				return err
			}
			warnBeyond(c.Context(), d, out, p)
			return nil
		},
	}
	// checkPolicy refuses impossible numbers, in native's words.
	flags := c.Flags()
	flags.VarP(one("SIZE", megabytes(parseInteger), &p.Memory), "mem", "m", "memory for all of them, in MB or with a unit: 64M, 1G")
	flags.Var(many("CPU", parseNumber, &p.CPUIDs), "cpu", "a CPU that they may run on; repeat for several (default 0)")
	flags.Var(maybe("SIZE", megabytes(parseInteger), &p.Block), "block", "block devices all together, in MB or with a unit; without it none are allowed (also: --size)")
	flags.Var(many("BRIDGE", parseInterface, &p.Bridges), "bridge", "a bridge that they may be attached to; repeat for several (also: --network)")
	otherNames(flags, map[string]string{"size": "block", "network": "bridge"})
	return c
}

// warnBeyond says what of a policy the daemon's machine lacks, if the daemon can be
// asked: it silently accepts such a policy.
func warnBeyond(ctx context.Context, d *daemon, out *printer, p messages.Policy) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	_, answer, err := d.answer(ctx, messages.Name{}, messages.PolicyInfo{})
	policies, ok := answer.(messages.SuccessPolicies)
	if err != nil || !ok || len(policies.List) == 0 || policies.List[0].Name != (messages.Name{}) {
		return
	}
	if beyond := ledger.Beyond(policies.List[0].Policy, p); len(beyond) > 0 {
		out.message(warning, "the policy allows more than the root has, which is all of the machine unless it was limited: "+strings.Join(beyond, ", "))
	}
}

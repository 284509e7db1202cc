package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"albatross/actors/ledger"
	"albatross/messages"
)

func (a *app) policyCommand() *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show the policies, which limit what may run",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			if a.destination.address != "" {
				return a.remotePolicies(c.Context(), path)
			}
			return a.list(c.Context(), messages.Name{Path: path}, "policy", messages.PolicyInfo{})
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "only those at and below this path")
	return c
}

// remotePolicies shows the policies at and below a path that is itself below that of
// the certificate. An endpoint answers for all below the latter only.
func (a *app) remotePolicies(ctx context.Context, path messages.Path) error {
	about, answer, err := a.answer(ctx, messages.Name{}, messages.PolicyInfo{})
	policies, err := as[messages.SuccessPolicies](about, answer, err)
	if err != nil {
		return err
	}
	at := messages.Name{Path: path}
	policies.List = slices.DeleteFunc(policies.List, func(p messages.NamedPolicy) bool { return !at.Covers(p.Name) })
	for i, p := range policies.List {
		policies.List[i].Name = at.Relative(p.Name)
	}
	if err := a.show(inFull(about.Path, at), policies); err != nil {
		return err
	}
	a.warnNothing(at, "policy", len(policies.List) == 0)
	return nil
}

func (a *app) removePolicyCommand() *cobra.Command {
	var path messages.Path
	c := &cobra.Command{
		Use:   "remove-policy",
		Short: "Remove the policy of a path, by default one that was set for the root",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), messages.Name{Path: path}, messages.PolicyRemove{})
		},
	}
	c.Flags().VarP(one("PATH", messages.ParsePath, &path), "path", "p", "the path that has the policy")
	return c
}

const (
	pathArgument  = "PATH"
	countArgument = "UNIKERNELS"
)

func (a *app) addPolicyCommand() *cobra.Command {
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
			if err := a.checkPolicy(&p); err != nil {
				return err
			}
			if err := a.ask(c.Context(), messages.Name{Path: path}, messages.PolicyAdd{Policy: p}); err != nil {
				return err
			}
			a.warnBeyond(c.Context(), p)
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

// checkPolicy completes a policy, and refuses one with which nothing could run.
func (a *app) checkPolicy(p *messages.Policy) error {
	if len(p.CPUIDs) == 0 {
		p.CPUIDs = []int{0}
	}
	// An empty ledger refuses a policy for no other reason.
	if _, err := ledger.New().ProposePolicy(messages.Root, *p); err != nil {
		return inputError("[ERROR] " + err.Error())
	}
	if len(p.Bridges) == 0 {
		a.message(warning, "policy without any network access")
	}
	return nil
}

// warnBeyond says what of a policy the daemon's machine lacks, if the daemon can be
// asked: it silently accepts such a policy.
func (a *app) warnBeyond(ctx context.Context, p messages.Policy) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	_, answer, err := a.answer(ctx, messages.Name{}, messages.PolicyInfo{})
	policies, ok := answer.(messages.SuccessPolicies)
	if err != nil || !ok || len(policies.List) == 0 || policies.List[0].Name != (messages.Name{}) {
		return
	}
	if beyond := ledger.Beyond(policies.List[0].Policy, p); len(beyond) > 0 {
		a.message(warning, "the policy allows more than the root has, which is all of the machine unless it was limited: "+strings.Join(beyond, ", "))
	}
}

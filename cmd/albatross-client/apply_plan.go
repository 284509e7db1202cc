package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"albatross/messages"
)

// A planner finds out which steps lead to what a manifest says.
type planner struct {
	apply      applier
	have       presence
	noWait     bool
	registries registryOptions
	prunes     []messages.Owner // whose things are removed that the manifest does not name
	steps      []step
}

// plan returns the steps. It changes nothing.
func (p *planner) plan(m manifest) ([]step, error) {
	policies, unikernels := slices.Clone(m.Policies), slices.Clone(m.Unikernels)
	slices.SortStableFunc(policies, func(a, b policyEntry) int { return cmp.Compare(a.Path, b.Path) }) // parents first
	slices.SortStableFunc(unikernels, func(a, b unikernelEntry) int {
		return cmp.Compare(a.arguments().Startup.Or(messages.DefaultStartup), b.arguments().Startup.Or(messages.DefaultStartup))
	})
	p.pruneUnikernels(m)
	err := errors.Join(each(policies, p.policy), each(m.Networks, p.network), each(m.Blocks, p.block), each(unikernels, p.unikernel))
	p.pruneRest(m)
	return p.steps, err
}

// each returns the first error.
func each[T any](list []T, do func(T) error) error {
	for _, v := range list {
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) add(words string, do func(context.Context) error) {
	p.steps = append(p.steps, step{words, do})
}

func (p *planner) policy(e policyEntry) error {
	policy := e.policy()
	if err := checkPolicy(p.apply.out, &policy); err != nil {
		return err
	}
	path := messages.Path(e.Path)
	words := fmt.Sprintf("create policy %s: %s", path, limitsText(policy))
	if i := slices.IndexFunc(p.have.policies, func(n messages.NamedPolicy) bool { return n.Name.Path == path }); i >= 0 {
		if err := p.mayChange(messages.KindPolicy, messages.Name{Path: path}, e.owner); err != nil {
			return err
		}
		changes := policyDifferences(p.have.policies[i].Policy, policy)
		if len(changes) == 0 {
			p.own(messages.KindPolicy, messages.Name{Path: path}, e.owner)
			return nil
		}
		words = fmt.Sprintf("change policy %s: %s", path, changes)
	}
	if p.apply.daemon.destination.given() {
		return inputError(fmt.Sprintf("policies are for administrators of the host, and not from afar (%s): leave it out, or apply the file on the machine of the daemon", words))
	}
	p.add(words, func(ctx context.Context) error {
		if e.owner == "" {
			return p.apply.daemon.ask(ctx, messages.Name{Path: path}, messages.PolicyAdd{Policy: policy})
		}
		policy.Owner = e.owner
		return p.apply.daemon.onControl(ctx, messages.Name{Path: path}.String(), messages.PolicyDeploy{Policy: policy}, "added policy")
	})
	return nil
}

func (p *planner) network(e networkEntry) error {
	asked, err := e.ask()
	asked.Owner = e.owner
	if err != nil {
		return inputError(fmt.Sprintf("network %s: %v", shortName(e.Name.Name), err))
	}
	if i := slices.IndexFunc(p.have.networks, func(n messages.NetworkStatus) bool { return n.Name == e.Name.Name }); i >= 0 {
		if changes := networkDifferences(networkOf(p.have.networks[i]), e); len(changes) > 0 {
			return inputError(fmt.Sprintf("network %s cannot be changed (%s): destroy its unikernels and remove it first", shortName(e.Name.Name), changes))
		}
		if err := p.mayChange(messages.KindNetwork, e.Name.Name, e.owner); err != nil {
			return err
		}
		p.own(messages.KindNetwork, e.Name.Name, e.owner)
		return nil
	}
	p.add("create network "+shortName(e.Name.Name), func(ctx context.Context) error {
		return p.apply.daemon.onControl(ctx, e.Name.String(), messages.NetworkCreate{Asked: asked}, "created network")
	})
	return nil
}

func (p *planner) block(e blockEntry) error {
	name, size := e.Name.Name, int(e.Size)
	if i := slices.IndexFunc(p.have.blocks, func(b messages.NamedBlock) bool { return b.Name == name }); i >= 0 {
		if has := p.have.blocks[i].Size; has != size {
			return inputError(fmt.Sprintf("block device %s cannot be changed (size %s -> %s): destroy it first, and what is in it", shortName(name), mb(has), mb(size)))
		}
		if err := p.mayChange(messages.KindBlock, name, e.owner); err != nil {
			return err
		}
		p.own(messages.KindBlock, name, e.owner)
		return nil
	}
	words := fmt.Sprintf("create block device %s of %s", shortName(name), mb(size))
	if e.Contents == nil {
		p.add(words, func(ctx context.Context) error { return p.apply.makeBlock(ctx, name, size, e.owner) })
		return nil
	}
	if err := e.Contents.find(); err != nil {
		return err
	}
	p.add(words+" with "+e.Contents.String(), func(ctx context.Context) error { return p.apply.createWith(ctx, e) })
	return nil
}

func (p *planner) unikernel(e unikernelEntry) error {
	name, args := e.Name.Name, e.arguments()
	if err := e.Image.find(); err != nil {
		return err
	}
	if err := p.mayChange(messages.KindUnikernel, name, e.owner); err != nil {
		return err
	}
	runs := slices.IndexFunc(p.have.unikernels, func(u messages.NamedInfo) bool { return u.Name == name })
	words := fmt.Sprintf("create unikernel %s with %s", shortName(name), e.Image)
	state, idle := p.have.idle[name]
	if idle {
		words = fmt.Sprintf("replace unikernel %s, which is %s, with %s", shortName(name), escape(string(state)), e.Image)
	}
	if runs >= 0 {
		u := p.have.unikernels[runs]
		changes := argumentDifferences(p.have.inFull(name), p.have.arguments[name], args)
		changes.of("image", shortDigest(hex.EncodeToString(u.Info.Digest)), e.Image.short())
		if len(changes) == 0 {
			p.own(messages.KindUnikernel, name, e.owner)
			return nil
		}
		words = fmt.Sprintf("replace unikernel %s: %s", shortName(name), changes)
	}
	if len(e.Image.places()) == 0 && (runs < 0 || hex.EncodeToString(p.have.unikernels[runs].Info.Digest) != string(e.Image.SHA256)) {
		return inputError(fmt.Sprintf("the image of %s has neither file, url nor oci, and is not what runs", shortName(name)))
	}
	p.add(words, func(ctx context.Context) error {
		return p.apply.createAs(ctx, name, args, e, p.registries, runs >= 0 || idle, p.noWait)
	})
	return nil
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"albatross/messages"
)

// prunable returns the owners of files whose things may be removed. Every file must have one.
func prunable(paths []string, owners []messages.Owner) ([]messages.Owner, error) {
	if i := slices.Index(owners, ""); i >= 0 {
		return nil, inputError(fmt.Sprintf("--prune removes what the owner of a file has, and %s has none: begin it with 'owner: NAME', and apply it once without --prune", escape(paths[i])))
	}
	return owners, nil
}

// mayChange returns why something that is there must not be changed: it belongs to another owner.
func (p *planner) mayChange(kind messages.Kind, name messages.Name, owner messages.Owner) error {
	if err := p.have.owners[owned{kind, name}].CheckTaken(owner); err != nil {
		return inputError(fmt.Sprintf("%s cannot be changed: %v", thingText(kind, name), err))
	}
	return nil
}

// own gives an owner what is as it should be and has none.
func (p *planner) own(kind messages.Kind, name messages.Name, owner messages.Owner) {
	if owner == "" || p.have.owners[owned{kind, name}] != "" || kind == messages.KindPolicy && p.apply.daemon.destination.given() {
		return
	}
	p.add(fmt.Sprintf("give %s, which has no owner, to %s", thingText(kind, name), owner), func(ctx context.Context) error {
		return p.apply.daemon.onControl(ctx, name.String(), messages.OwnRequest{Kind: kind, Owner: owner}, "owner set")
	})
}

// thingText names something for people.
func thingText(kind messages.Kind, name messages.Name) string {
	switch kind {
	case messages.KindPolicy:
		return "policy " + string(name.Path)
	case messages.KindBlock:
		return "block device " + shortName(name)
	}
	return string(kind) + " " + shortName(name)
}

// pruned returns what the owners have of a kind and a manifest does not name, the last in the order
// of names first: what is below a path before the path.
func (p *planner) pruned(kind messages.Kind, named []messages.Name) (list []owned) {
	for o, owner := range p.have.owners {
		if o.kind == kind && slices.Contains(p.prunes, owner) && !slices.Contains(named, o.name) {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b owned) int { return cmp.Compare(b.name.String(), a.name.String()) })
	return list
}

// remove adds a step for each thing that is removed.
func (p *planner) remove(list []owned, loss string, do func(context.Context, messages.Name) error) {
	for _, o := range list {
		words := fmt.Sprintf("remove %s%s, which %s does not name any more", thingText(o.kind, o.name), loss, p.have.owners[o])
		p.add(words, func(ctx context.Context) error { return do(ctx, o.name) })
	}
}

// pruneUnikernels removes unikernels first: what replaces them may need their names, ports and memory.
func (p *planner) pruneUnikernels(m manifest) {
	named := mapped(m.Unikernels, func(e unikernelEntry) messages.Name { return e.Name.Name })
	p.remove(p.pruned(messages.KindUnikernel, named), "", func(ctx context.Context, name messages.Name) error {
		return p.apply.daemon.ask(ctx, name, messages.UnikernelDestroy{})
	})
}

// pruneRest removes what no unikernel uses any more.
func (p *planner) pruneRest(m manifest) {
	networks := mapped(m.Networks, func(e networkEntry) messages.Name { return e.Name.Name })
	p.remove(p.pruned(messages.KindNetwork, networks), "", func(ctx context.Context, name messages.Name) error {
		return p.apply.daemon.onControl(ctx, name.String(), messages.NetworkRemove{}, "removed network")
	})
	blocks := mapped(m.Blocks, func(e blockEntry) messages.Name { return e.Name.Name })
	p.remove(p.pruned(messages.KindBlock, blocks), " and DESTROY its contents", func(ctx context.Context, name messages.Name) error {
		return p.apply.daemon.ask(ctx, name, messages.BlockRemove{})
	})
	policies := mapped(m.Policies, func(e policyEntry) messages.Name { return messages.Name{Path: messages.Path(e.Path)} })
	if p.apply.daemon.destination.given() { // policies are for administrators of the host
		return
	}
	p.remove(p.pruned(messages.KindPolicy, policies), "", func(ctx context.Context, name messages.Name) error {
		return p.apply.daemon.ask(ctx, name, messages.PolicyRemove{})
	})
}

package main

import (
	"context"
	"encoding/hex"
	"slices"

	"albatross/messages"
)

// A presence is what there is on the machine of the daemon.
type presence struct {
	policies   []messages.NamedPolicy // without that of the root
	networks   []messages.NetworkStatus
	blocks     []messages.NamedBlock
	unikernels []messages.NamedInfo
	arguments  map[messages.Name]messages.Arguments      // of unikernels
	idle       map[messages.Name]messages.UnikernelState // of those that are on record, and in no list of what runs
}

// present asks what there is.
func (a *app) present(ctx context.Context) (p presence, err error) {
	if a.destination.given() || a.socket != "" {
		return p, inputError("this is possible on the machine of the daemon only, and without --socket")
	}
	policies, err := as[messages.SuccessPolicies](a.policies(ctx, messages.Name{}))
	if err != nil {
		return p, err
	}
	p.policies = slices.DeleteFunc(policies.List, func(n messages.NamedPolicy) bool { return n.Name.Path == messages.Root })
	if p.networks, err = a.networks(ctx, messages.Name{}); err != nil {
		return p, err
	}
	blocks, err := as[messages.SuccessBlocks](a.blocks(ctx, messages.Name{}))
	if err != nil {
		return p, err
	}
	p.blocks = blocks.List
	infos, err := as[messages.SuccessInfos](a.infos(ctx, messages.Name{}))
	if err != nil {
		return p, err
	}
	p.unikernels = infos.List
	settings, err := a.settings(ctx, messages.Name{})
	p.arguments = argumentsOfAll(infos.List, settings)
	if err != nil {
		return p, err
	}
	p.idle, err = a.idle(ctx, infos.List)
	return p, err
}

// idle returns the states of unikernels that are on record, except for those that are listed.
func (a *app) idle(ctx context.Context, listed []messages.NamedInfo) (map[messages.Name]messages.UnikernelState, error) {
	statuses, err := a.statuses(ctx, messages.Name{})
	idle := map[messages.Name]messages.UnikernelState{}
	for _, s := range statuses {
		if s.State != messages.StateEnded {
			idle[s.Name] = s.State
		}
	}
	for _, u := range listed {
		delete(idle, u.Name)
	}
	return idle, err
}

// argumentsOfAll returns the arguments of unikernels: those that are listed, and those that only
// our daemon knows.
func argumentsOfAll(infos []messages.NamedInfo, settings []messages.NamedSettings) map[messages.Name]messages.Arguments {
	all := map[messages.Name]messages.Arguments{}
	for _, u := range infos {
		all[u.Name] = configOf(u, nil).Arguments
	}
	for _, s := range settings {
		args, runs := all[s.Name]
		if !runs {
			continue
		}
		args.AddName, args.Publish, args.Health = s.AddName, s.Publish, s.Health
		for _, n := range s.Networks {
			i := slices.IndexFunc(args.Networks, func(o messages.Network) bool { return o.Name == n.Name })
			if i >= 0 {
				args.Networks[i].IP, args.Networks[i].Static, args.Networks[i].Rate = n.IP, n.Static, n.Rate
			}
		}
		all[s.Name] = args
	}
	return all
}

// below returns what of it is at or below a name.
func (p presence) below(name messages.Name) presence {
	p.policies = slices.DeleteFunc(slices.Clone(p.policies), func(n messages.NamedPolicy) bool {
		return !name.IsPath() || !name.Path.Contains(n.Name.Path)
	})
	p.networks = slices.DeleteFunc(slices.Clone(p.networks), func(n messages.NetworkStatus) bool { return !name.Covers(n.Name) })
	p.blocks = slices.DeleteFunc(slices.Clone(p.blocks), func(n messages.NamedBlock) bool { return !name.Covers(n.Name) })
	p.unikernels = slices.DeleteFunc(slices.Clone(p.unikernels), func(n messages.NamedInfo) bool { return !name.Covers(n.Name) })
	return p
}

// manifest returns what there is as a manifest. The files of images are those that file returns.
func (p presence) manifest(file func(messages.NamedInfo) string) (m manifest) {
	for _, n := range p.policies {
		m.Policies = append(m.Policies, policyOf(n))
	}
	for _, n := range p.networks {
		m.Networks = append(m.Networks, networkOf(n))
	}
	for _, b := range p.blocks {
		m.Blocks = append(m.Blocks, blockEntry{Name: nameValue{b.Name}, Size: sizeValue(b.Size)})
	}
	for _, u := range p.unikernels {
		image := source{File: file(u), SHA256: digestValue(hex.EncodeToString(u.Info.Digest))}
		m.Unikernels = append(m.Unikernels, unikernelOf(u.Name, p.arguments[u.Name], image))
	}
	return m
}

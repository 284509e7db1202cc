package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"albatross/messages"
	"albatross/sockets/client"
)

// A presence is what there is on the machine of the daemon, or from afar below a path there, to which
// names are relative.
type presence struct {
	path       messages.Path          // that is in front of all names; from afar that of the certificates
	policies   []messages.NamedPolicy // without that of the root
	networks   []messages.NetworkStatus
	blocks     []messages.NamedBlock
	unikernels []messages.NamedInfo
	arguments  map[messages.Name]messages.Arguments // of unikernels
	owners     map[owned]messages.Owner
	idle       map[messages.Name]messages.UnikernelState // of those that are on record, and in no list of what runs
}

// Owned is what may have an owner; a policy has the name of its path.
type owned struct {
	kind messages.Kind
	name messages.Name
}

// present asks what there is.
func (inv inventory) present(ctx context.Context) (p presence, err error) {
	if inv.daemon.destination.csr || inv.daemon.socket != "" {
		return p, inputError("this asks many things, and so is possible neither with --csr nor with --socket")
	}
	if inv.daemon.destination.given() {
		if err := inv.needSession(ctx); err != nil {
			return p, err
		}
	}
	about, answer, err := inv.policies(ctx, messages.Name{})
	policies, err := as[messages.SuccessPolicies](about, answer, err)
	if err != nil {
		return p, err
	}
	p.path = about.Path
	p.policies = slices.DeleteFunc(policies.List, func(n messages.NamedPolicy) bool { return n.Name.Path == messages.Root })
	if p.networks, err = inv.networks(ctx, messages.Name{}); err != nil {
		return p, err
	}
	blocks, err := as[messages.SuccessBlocks](inv.blocks(ctx, messages.Name{}))
	if err != nil {
		return p, err
	}
	p.blocks = blocks.List
	infos, err := as[messages.SuccessInfos](inv.infos(ctx, messages.Name{}))
	if err != nil {
		return p, err
	}
	p.unikernels = infos.List
	settings, err := inv.settings(ctx, messages.Name{})
	p.arguments = p.argumentsOfAll(infos.List, settings)
	if err != nil {
		return p, err
	}
	if p.idle, err = inv.idle(ctx, infos.List); err != nil {
		return p, err
	}
	p.owners, err = inv.owners(ctx)
	return p, err
}

// owners asks for the owners of everything. A daemon that knows of none refuses the question.
func (inv inventory) owners(ctx context.Context) (map[owned]messages.Owner, error) {
	conn, err := inv.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	list, err := conn.Owners(ctx, messages.Name{})
	var refusal *client.Refusal
	if errors.As(err, &refusal) {
		inv.out.message(info, fmt.Sprintf("owners are not known: %v", err))
		return nil, nil
	}
	owners := map[owned]messages.Owner{}
	for _, o := range list {
		owners[owned{o.Kind, o.Name}] = o.Owner
	}
	return owners, err
}

// idle returns the states of unikernels that are on record, except for those that are listed.
func (inv inventory) idle(ctx context.Context, listed []messages.NamedInfo) (map[messages.Name]messages.UnikernelState, error) {
	statuses, err := inv.statuses(ctx, messages.Name{})
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

// needSession returns why there is no session with the endpoint.
func (inv inventory) needSession(ctx context.Context) error {
	conn, err := inv.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Ends(ctx, messages.Name{})
	return err
}

// inFull returns the name by which the daemon knows something.
func (p presence) inFull(name messages.Name) messages.Name { return p.path.InFull(name) }

// argumentsOfAll returns the arguments of unikernels: those that are listed, and those that only
// our daemon knows. What a MAC address is by default follows from the name in full.
func (p presence) argumentsOfAll(infos []messages.NamedInfo, settings []messages.NamedSettings) map[messages.Name]messages.Arguments {
	all := map[messages.Name]messages.Arguments{}
	for _, u := range infos {
		all[u.Name] = configOf(messages.NamedInfo{Name: p.inFull(u.Name), Info: u.Info}, nil).Arguments
	}
	for _, s := range settings {
		args, runs := all[s.Name]
		if !runs {
			continue
		}
		addSettings(&args, s)
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

// belonging returns what of it belongs to an owner; nobody: all of it.
func (p presence) belonging(owner messages.Owner) presence {
	if owner == "" {
		return p
	}
	has := func(kind messages.Kind, name messages.Name) bool { return p.owners[owned{kind, name}] == owner }
	p.policies = slices.DeleteFunc(slices.Clone(p.policies), func(n messages.NamedPolicy) bool { return !has(messages.KindPolicy, n.Name) })
	p.networks = slices.DeleteFunc(slices.Clone(p.networks), func(n messages.NetworkStatus) bool { return !has(messages.KindNetwork, n.Name) })
	p.blocks = slices.DeleteFunc(slices.Clone(p.blocks), func(n messages.NamedBlock) bool { return !has(messages.KindBlock, n.Name) })
	p.unikernels = slices.DeleteFunc(slices.Clone(p.unikernels), func(n messages.NamedInfo) bool { return !has(messages.KindUnikernel, n.Name) })
	return p
}

// eachOwner returns the owner of everything in it; "" for what has none.
func (p presence) eachOwner() (list []messages.Owner) {
	add := func(kind messages.Kind, name messages.Name) { list = append(list, p.owners[owned{kind, name}]) }
	for _, n := range p.policies {
		add(messages.KindPolicy, n.Name)
	}
	for _, n := range p.networks {
		add(messages.KindNetwork, n.Name)
	}
	for _, n := range p.blocks {
		add(messages.KindBlock, n.Name)
	}
	for _, n := range p.unikernels {
		add(messages.KindUnikernel, n.Name)
	}
	return list
}

// owned reports whether anything in it has an owner.
func (p presence) owned() bool {
	return slices.ContainsFunc(p.eachOwner(), func(o messages.Owner) bool { return o != "" })
}

// owner returns the owner of everything in it, if all have the same.
func (p presence) owner() messages.Owner {
	all := slices.Compact(p.eachOwner())
	if len(all) != 1 {
		return ""
	}
	return all[0]
}

// manifest returns what there is as a manifest. The files of images are those that file returns.
func (p presence) manifest(file func(messages.NamedInfo) string) (m manifest) {
	m.Owner = ownerValue(p.owner())
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
		if r, ok := originOf(p.arguments[u.Name]); ok && image.File == "" {
			image = source{OCI: referenceValue(r.String())}
		}
		m.Unikernels = append(m.Unikernels, unikernelOf(u.Name, p.arguments[u.Name], image))
	}
	return m
}

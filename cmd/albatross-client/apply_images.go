package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"

	"albatross/messages"
	"albatross/sockets/registry"
)

// lookUp finds out which images in registries unikernels are to have: tags are looked up once, for
// all that is done afterwards.
func (p *planner) lookUp(ctx context.Context, list []unikernelEntry) ([]unikernelEntry, error) {
	if !slices.ContainsFunc(list, func(e unikernelEntry) bool { return e.Image.OCI != "" }) {
		return list, nil
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	client := registryClient(p.apply.out, p.registries)
	defer client.Close()
	list = slices.Clone(list)
	for i := range list {
		if list[i].Image.OCI == "" {
			continue
		}
		if err := p.lookUpOne(ctx, client, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (p *planner) lookUpOne(ctx context.Context, client *registry.Client, e *unikernelEntry) error {
	r, err := registry.ParseReference(string(e.Image.OCI))
	if err != nil {
		return inputError(err.Error())
	}
	if p.runs(e, r) {
		return nil
	}
	artifact, err := client.Resolve(ctx, r)
	if err != nil {
		return err
	}
	e.Image.OCI = referenceValue(artifact.Reference.String())
	if p.runs(e, artifact.Reference) {
		return nil
	}
	t, err := artifact.Choose(targets...)
	if err != nil {
		return err
	}
	e.adopt(t.Memory, t.Arguments)
	for _, t := range artifact.Targets {
		if running, ok := p.running(e.Name.Name); ok && hex.EncodeToString(running.Info.Digest) == t.SHA256 {
			e.Image.runs = digestValue(t.SHA256)
		}
	}
	return nil
}

// runs reports whether what a unikernel is to have runs already, by the digest in its registry. Then
// the entry says what it runs with, where it says nothing.
func (p *planner) runs(e *unikernelEntry, r registry.Reference) bool {
	running, ok := p.running(e.Name.Name)
	args := p.have.arguments[e.Name.Name]
	origin, known := originOf(args)
	if !ok || !known || r.Digest == "" || origin.Digest != r.Digest {
		return false
	}
	e.Image.runs = digestValue(hex.EncodeToString(running.Info.Digest))
	e.adopt(args.Memory, args.Argv.Value)
	return true
}

func (p *planner) running(name messages.Name) (messages.NamedInfo, bool) {
	i := slices.IndexFunc(p.have.unikernels, func(u messages.NamedInfo) bool { return u.Name == name })
	if i < 0 {
		return messages.NamedInfo{}, false
	}
	return p.have.unikernels[i], true
}

// adopt sets the memory and arguments of an entry that has none.
func (e *unikernelEntry) adopt(memory int, arguments []string) {
	if e.Memory == 0 {
		e.Memory = sizeValue(memory)
	}
	if len(e.Arguments) == 0 {
		e.Arguments = arguments
	}
}

// withSource does something with the image in a registry that a source names.
func (ap applier) withSource(ctx context.Context, o registryOptions, from source, do func(fetched) error) error {
	r, err := registry.ParseReference(string(from.OCI))
	if err != nil {
		return inputError(err.Error())
	}
	return withImage(ctx, ap.out, o, r, messages.Option[string]{}, func(f fetched) error {
		if err := from.matches(f.data); err != nil {
			return err
		}
		return do(f)
	})
}

// short names the image of a source, for people.
func (s source) short() string {
	digest := cmp.Or(s.runs, s.SHA256)
	if digest == "" && s.OCI != "" {
		return string(s.OCI)
	}
	return shortDigest(string(digest))
}

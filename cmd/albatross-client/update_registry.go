package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"albatross/messages"
	"albatross/sockets/registry"
	"albatross/sockets/wire"
)

// updateFromRegistry replaces a unikernel by what the tag that it is from leads to now.
func (u updater) updateFromRegistry(ctx context.Context, runs messages.NamedInfo, args messages.Arguments, order updateOrder) error {
	r, ok := originOf(args)
	if !ok || r.Tag == "" {
		return inputError(fmt.Sprintf("cannot update %s: its image was named by a digest, and so is the newest. Create it again with a tag, or another digest: 'albatross-client create --force'.",
			shortName(runs.Name)))
	}
	was := r.Digest
	r.Digest = ""
	return u.updateImage(ctx, runs, args, was, r, order)
}

// updateTo replaces a unikernel by the image of a reference, whatever its own is from.
func (u updater) updateTo(ctx context.Context, runs messages.NamedInfo, order updateOrder) error {
	args, err := u.argumentsOf(ctx, runs)
	if err != nil {
		return err
	}
	was := fmt.Sprintf("sha256:%x", runs.Info.Digest)
	if r, ok := originOf(args); ok {
		was = r.Digest
	}
	return u.updateImage(ctx, runs, args, was, order.to, order)
}

// updateImage replaces a unikernel by an image in a registry, unless that is what it is from already.
func (u updater) updateImage(ctx context.Context, runs messages.NamedInfo, args messages.Arguments, was string, r registry.Reference, order updateOrder) error {
	if err := order.options.setHealth(order.flags, &args); err != nil {
		return err
	}
	registries := registryClient(u.out, order.web)
	defer registries.Close()
	artifact, err := resolve(ctx, registries, r)
	if err != nil {
		return err
	}
	r = artifact.Reference
	switch {
	case r.Digest == was:
		return u.out.say(runs.Name, fmt.Sprintf("%s: already up to date (%s)", shortName(runs.Name), r))
	case order.dryRun:
		return u.out.say(runs.Name, fmt.Sprintf("%s: would go from %s to %s", shortName(runs.Name), was, r))
	}
	return withImage(ctx, u.out, order.web, r, messages.Option[string]{}, func(f fetched) error {
		if sum := sha256.Sum256(f.data); bytes.Equal(sum[:], runs.Info.Digest) {
			return u.out.say(runs.Name, fmt.Sprintf("%s: already up to date (%s has the same image)", shortName(runs.Name), r))
		}
		if err := usable(f.data, args); err != nil {
			return inputError(fmt.Sprintf("cannot update %s to %s: %s; it was left as it is", shortName(runs.Name), r, escape(err.Error())))
		}
		args.Origin = f.origin()
		config, err := packedConfig(messages.Config{Type: messages.Solo5, Arguments: args, Image: f.data}, u.daemon.compression(order.level))
		if err != nil {
			return err
		}
		return u.watcher.start(ctx, runs.Name, order.noWait, func() error { return u.creator.create(ctx, runs.Name, wire.OldestCreate(config, true)) })
	})
}

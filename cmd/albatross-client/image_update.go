package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"albatross/messages"
	"albatross/sockets/wire"
)

// knownArguments returns the arguments of what runs; none if the daemon does not tell them all.
func (a *app) knownArguments(ctx context.Context, runs messages.NamedInfo) messages.Arguments {
	args, known, err := a.allArguments(ctx, runs.Name)
	if err != nil || !known {
		a.message(info, fmt.Sprintf("where its image is from is not known (%v)", err))
		return messages.Arguments{}
	}
	args.Argv = runs.Info.Argv
	return args
}

// updateFromRegistry replaces a unikernel by what the tag that it is from leads to now.
func (a *app) updateFromRegistry(ctx context.Context, runs messages.NamedInfo, args messages.Arguments, order updateOrder) error {
	r, ok := originOf(args)
	if !ok || r.Tag == "" {
		return inputError(fmt.Sprintf("cannot update %s: its image was named by a digest, and so is the newest. Create it again with a tag, or another digest: 'albatross-client create --force'.",
			shortName(runs.Name)))
	}
	if err := order.options.setHealth(order.flags, &args); err != nil {
		return err
	}
	was := r.Digest
	r.Digest = ""
	registries := a.registries(order.web)
	defer registries.Close()
	artifact, err := a.resolve(ctx, registries, r)
	if err != nil {
		return err
	}
	r = artifact.Reference
	switch {
	case r.Digest == was:
		return a.say(runs.Name, fmt.Sprintf("%s: already up to date (%s)", shortName(runs.Name), r))
	case order.dryRun:
		return a.say(runs.Name, fmt.Sprintf("%s: would go from %s to %s", shortName(runs.Name), was, r))
	}
	return a.withImage(ctx, order.web, r, messages.Option[string]{}, func(f fetched) error {
		if sum := sha256.Sum256(f.data); bytes.Equal(sum[:], runs.Info.Digest) {
			return a.say(runs.Name, fmt.Sprintf("%s: already up to date (%s has the same image)", shortName(runs.Name), r))
		}
		if err := usable(f.data, args); err != nil {
			return inputError(fmt.Sprintf("cannot update %s to %s: %s; it was left as it is", shortName(runs.Name), r, escape(err.Error())))
		}
		args.Origin = f.origin()
		config, err := packedConfig(messages.Config{Type: messages.Solo5, Arguments: args, Image: f.data}, a.compression(order.level))
		if err != nil {
			return err
		}
		return a.start(ctx, runs.Name, order.noWait, func() error { return a.create(ctx, runs.Name, wire.OldestCreate(config, true)) })
	})
}

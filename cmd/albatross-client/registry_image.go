package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"albatross/messages"
	"albatross/runtime/image"
	"albatross/sockets/client"
	"albatross/sockets/registry"
)

// A fetched image is one from a registry.
type fetched struct {
	reference registry.Reference // with its digest
	target    registry.Target
	image     *image.Image
	data      []byte // in a temporary file: not to be used after close
	close     func() error
}

// origin is what the daemon notes about the image.
func (f fetched) origin() messages.Option[messages.Origin] {
	return messages.Some(messages.Origin(f.reference.String()))
}

// source names the image in a manifest.
func (f fetched) source() source { return source{OCI: referenceValue(f.reference.String())} }

// withImage does something with the image of a reference: for the first target that there is, and
// that the daemon can run. Only the daemon knows its tenders, so it is asked by trying.
func withImage(ctx context.Context, out *printer, o registryOptions, r registry.Reference, target messages.Option[string], do func(fetched) error) error {
	registries := registryClient(out, o)
	defer registries.Close()
	artifact, err := resolve(ctx, registries, r)
	if err != nil {
		return err
	}
	var refused error
	left := targetOrder(target)
	for {
		chosen, err := artifact.Choose(left...)
		if err != nil {
			return orElse(refused, err)
		}
		f, err := fetchFrom(ctx, registries, artifact, chosen)
		if err != nil {
			return err
		}
		err = do(f)
		if closed := f.close(); err == nil {
			err = closed
		}
		switch {
		case otherHost(err):
			refused, artifact = orElse(refused, err), artifact.Without(chosen.Architecture)
			out.message(info, fmt.Sprintf("the daemon cannot run what is for %s: %v", chosen.Architecture, err))
			continue
		case !cannotRun(err, chosen.Name):
			return err
		}
		refused = orElse(refused, err)
		left = slices.DeleteFunc(slices.Clone(left), func(name string) bool { return name == chosen.Name })
		out.message(info, fmt.Sprintf("the daemon cannot run what is for %s: %v", chosen.Name, err))
	}
}

// resolve looks up a reference, until the user interrupts that.
func resolve(ctx context.Context, registries *registry.Client, r registry.Reference) (*registry.Artifact, error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	return registries.Resolve(ctx, r)
}

// fetchFrom is fetchImage, until the user interrupts it.
func fetchFrom(ctx context.Context, registries *registry.Client, artifact *registry.Artifact, target registry.Target) (fetched, error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	return fetchImage(ctx, registries, artifact, target)
}

// orElse returns the first error, or else the second one.
func orElse(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// cannotRun reports whether the daemon has refused an image because it has no tender for a target.
func cannotRun(err error, target string) bool {
	var refusal *client.Refusal
	return errors.As(err, &refusal) && strings.HasPrefix(refusal.Text, "cannot run a "+target+" image: ")
}

// otherHost reports whether the daemon has refused an image because its host has another
// architecture.
func otherHost(err error) bool {
	var refusal *client.Refusal
	return errors.As(err, &refusal) && strings.HasPrefix(refusal.Text, "cannot run image: it is for ")
}

// defaults returns the default arguments for an image from a registry.
func (f fetched) defaults() messages.Arguments {
	args := defaults()
	if f.target.Memory > 0 {
		args.Memory = f.target.Memory
	}
	if len(f.target.Arguments) > 0 {
		args.Argv = messages.Some(f.target.Arguments)
	}
	return args
}

// originOf returns the reference of what runs, if that is from a registry.
func originOf(args messages.Arguments) (r registry.Reference, ok bool) {
	if !args.Origin.OK {
		return r, false
	}
	r, err := registry.ParseReference(string(args.Origin.Value))
	return r, err == nil
}

// targets are those that run here, the preferred one first: spt needs no KVM.
var targets = []string{"spt", "hvt"}

func parseTarget(s string) (string, error) {
	for _, t := range targets {
		if s == t {
			return s, nil
		}
	}
	return "", fmt.Errorf("invalid value '%s', expected spt or hvt", escape(s))
}

// targetOrder returns the targets in the order in which they are tried: one that was chosen is the only one.
func targetOrder(target messages.Option[string]) []string {
	if target.OK {
		return []string{target.Value}
	}
	return targets
}

// fetchImage gets an image from a registry, which must be a unikernel for that target. The caller closes it.
func fetchImage(ctx context.Context, client *registry.Client, artifact *registry.Artifact, target registry.Target) (f fetched, err error) {
	kept, err := client.FetchFile(ctx, artifact, target)
	if err != nil {
		return f, err
	}
	f = fetched{reference: artifact.Reference, target: target, data: kept.Contents, close: kept.Close}
	if err := f.check(); err != nil {
		return f, errors.Join(err, f.close())
	}
	return f, nil
}

// check reads the image, and returns why it is not what it should be.
func (f *fetched) check() (err error) {
	if f.image, err = readUnikernel(f.reference.String(), f.data); err != nil {
		return err
	}
	if got := f.image.Target.String(); got != f.target.Name {
		return inputError(fmt.Sprintf("cannot use %s: what is there for %s is for %s", f.reference, f.target.Name, got))
	}
	if got := string(f.image.Architecture); got != f.target.Architecture {
		return inputError(fmt.Sprintf("cannot use %s: what is there for %s is for %s", f.reference, f.target.Architecture, got))
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/registry"
)

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

func (a *app) imagePullCommand() *cobra.Command {
	to := output{}
	var target messages.Option[string]
	c := a.withReference(&cobra.Command{
		Use: "pull", Short: "Write an image from a registry to a file in the temporary directory, or to that of -o",
		Example: "  albatross-client image pull oci://localhost:5000/web:1 --target=hvt -o web.hvt",
	}, func(ctx context.Context, client *registry.Client, r registry.Reference) error {
		return a.pull(ctx, client, r, target, &to)
	})
	to.register(c.Flags(), a.stdout)
	c.Flags().Var(maybe("TARGET", parseTarget, &target), "target", "spt or hvt (default spt, if there is one)")
	return c
}

func (a *app) pull(ctx context.Context, client *registry.Client, r registry.Reference, target messages.Option[string], to *output) error {
	artifact, err := client.Resolve(ctx, r)
	if err != nil {
		return err
	}
	chosen, err := artifact.Choose(targetOrder(target)...)
	if err != nil {
		return err
	}
	f, err := fetchImage(ctx, client, artifact, chosen)
	if err != nil {
		return err
	}
	file := messages.Name{Label: messages.Label(path.Base(r.Repository) + "." + chosen.Name)}
	written, err := to.save(file, bytes.NewReader(f.data))
	if err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return a.tell(to, func() error {
		return a.say(messages.Name{}, fmt.Sprintf("wrote %s for %s to %s", artifact.Reference, chosen.Name, written))
	})
}

// targetOrder returns the targets in the order in which they are tried: one that was chosen is the only one.
func targetOrder(target messages.Option[string]) []string {
	if target.OK {
		return []string{target.Value}
	}
	return targets
}

// fetchImage gets an image from a registry, which must be a unikernel for that target.
func fetchImage(ctx context.Context, client *registry.Client, artifact *registry.Artifact, target registry.Target) (f fetched, err error) {
	f = fetched{reference: artifact.Reference, target: target}
	if f.data, err = client.Fetch(ctx, artifact, target); err != nil {
		return f, err
	}
	if f.image, err = readUnikernel(artifact.Reference.String(), f.data); err != nil {
		return f, err
	}
	if got := f.image.Target.String(); got != target.Name {
		return f, inputError(fmt.Sprintf("cannot use %s: what is there for %s is for %s", artifact.Reference, target.Name, got))
	}
	return f, nil
}

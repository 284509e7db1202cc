package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/registry"
)

func imagePullCommand(out *printer) *cobra.Command {
	to := output{}
	var target messages.Option[string]
	c := withReference(out, &cobra.Command{
		Use: "pull", Short: "Write an image from a registry to a file in the temporary directory, or to that of -o",
		Example: "  albatross-client image pull oci://localhost:5000/web:1 --target=hvt -o web.hvt",
	}, func(ctx context.Context, client *registry.Client, r registry.Reference) error {
		return pull(ctx, out, client, r, target, &to)
	})
	to.register(c.Flags(), out.stdout)
	c.Flags().Var(maybe("TARGET", parseTarget, &target), "target", "spt or hvt (default spt, if there is one)")
	return c
}

func pull(ctx context.Context, out *printer, client *registry.Client, r registry.Reference, target messages.Option[string], to *output) error {
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
	if err = errors.Join(err, f.close()); err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return tell(to, func() error {
		return out.say(messages.Name{}, fmt.Sprintf("wrote %s for %s to %s", artifact.Reference, chosen.Name, written))
	})
}

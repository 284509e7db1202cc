package main

import (
	"context"

	"github.com/spf13/cobra"

	"albatross/sockets/registry"
)

func imageRemoveCommand(out *printer) *cobra.Command {
	c := withReference(out, &cobra.Command{
		Use: "remove", Aliases: []string{"rm"}, Short: "Remove an image, or a tag, from a registry",
		Long: `Remove an image from a registry. With a digest, the image is removed with all tags that it has;
with a tag only that, which not every registry can do. When its room is free again, and whether
anything can be removed at all, is up to the operator of the registry.`,
		Example: "  albatross-client image remove oci://localhost:5000/web:1",
	}, func(ctx context.Context, client *registry.Client, r registry.Reference) error {
		if err := client.Remove(ctx, r); err != nil {
			return err
		}
		return sayReference(out, "removed", r)
	})
	return c
}

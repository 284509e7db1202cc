package main

import (
	"context"

	"github.com/spf13/cobra"

	"albatross/sockets/registry"
)

func imageListCommand(out *printer) *cobra.Command {
	return withRegistry(out, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the tags of a repository, or the repositories of a registry",
		Long:    "List the tags of a repository, or the repositories of a registry. Not every registry tells the latter.",
		Example: "  albatross-client image list oci://localhost:5000/web\n  albatross-client image list oci://localhost:5000",
	}, placeArgument, registry.ParsePlace, func(ctx context.Context, client *registry.Client, place registry.Reference) error {
		return listImages(ctx, out, client, place)
	})
}

// A referenceObject is an image, or a repository, in a registry.
type referenceObject struct {
	Reference string `json:"reference"`
}

func listImages(ctx context.Context, out *printer, client *registry.Client, place registry.Reference) error {
	names, err := client.List(ctx, place)
	if err != nil {
		return err
	}
	references := mapped(names, func(name string) string {
		if place.Repository == "" {
			return place.String() + "/" + name
		}
		return place.String() + ":" + name
	})
	switch {
	case out.format == jsonFormat:
		return out.print(documentOf(references, func(r string) referenceObject { return referenceObject{r} }))
	case len(references) == 0:
		out.message(warning, "there is nothing in "+place.String())
		return nil
	}
	return out.print(joined(references, "\n", escape))
}

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/sockets/registry"
)

// Arguments that name what is in a registry.
const (
	referenceArgument = "REFERENCE"
	placeArgument     = "REPOSITORY|REGISTRY"
)

func (a *app) imageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Keep images in a registry, and get them from there",
		Long: `Keep images in a registry, and get them from there. A REFERENCE is
oci://REGISTRY/REPOSITORY[:TAG|@DIGEST]; without either the tag is latest. 'create', 'update' and
'apply' take one in place of a file. Who asks is what 'docker login' or 'podman login' has kept for
the registry.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.imagePushCommand(), a.imagePullCommand(), a.imageListCommand(), a.imageInspectCommand(), a.imageRemoveCommand())
	return c
}

// registryOptions are the options of commands that ask a registry.
type registryOptions struct{ insecure bool }

func (o *registryOptions) register(flags *pflag.FlagSet) {
	flags.BoolVar(&o.insecure, "insecure", false,
		"ask a registry also by http, or where nobody vouches for its certificate; one on this machine may always speak http")
}

// registries returns a client for registries. The caller closes it.
func (a *app) registries(o registryOptions) *registry.Client {
	return registry.New(registry.Options{Insecure: o.insecure, Progress: a.progress})
}

// withReference makes c a command about a reference, which is its only argument.
func (a *app) withReference(c *cobra.Command, do func(context.Context, *registry.Client, registry.Reference) error) *cobra.Command {
	return a.withRegistry(c, referenceArgument, registry.ParseReference, do)
}

func (a *app) withRegistry(c *cobra.Command, argument string, parse func(string) (registry.Reference, error), do func(context.Context, *registry.Client, registry.Reference) error) *cobra.Command {
	var o registryOptions
	c.Use += " " + argument
	c.Args = positional(argument)
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := parseArgument(argument, parse, args[0])
		if err != nil {
			return err
		}
		ctx, stop := interruptible(c.Context())
		defer stop()
		client := a.registries(o)
		defer client.Close()
		return do(ctx, client, r)
	}
	o.register(c.Flags())
	return c
}

func (a *app) imageListCommand() *cobra.Command {
	return a.withRegistry(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the tags of a repository, or the repositories of a registry",
		Long:    "List the tags of a repository, or the repositories of a registry. Not every registry tells the latter.",
		Example: "  albatross-client image list oci://localhost:5000/web\n  albatross-client image list oci://localhost:5000",
	}, placeArgument, registry.ParsePlace, a.listImages)
}

// A referenceObject is an image, or a repository, in a registry.
type referenceObject struct {
	Reference string `json:"reference"`
}

func (a *app) listImages(ctx context.Context, client *registry.Client, place registry.Reference) error {
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
	case a.format == jsonFormat:
		return a.print(documentOf(references, func(r string) referenceObject { return referenceObject{r} }))
	case len(references) == 0:
		a.message(warning, "there is nothing in "+place.String())
		return nil
	}
	return a.print(joined(references, "\n", escape))
}

func (a *app) imageInspectCommand() *cobra.Command {
	return a.withReference(&cobra.Command{
		Use: "inspect", Short: "Show an image in a registry: its digest, targets, devices, and who has made it",
		Example: "  albatross-client image inspect oci://localhost:5000/web:1",
	}, func(ctx context.Context, client *registry.Client, r registry.Reference) error {
		artifact, err := client.Resolve(ctx, r)
		if err != nil {
			return err
		}
		if a.format == jsonFormat {
			return a.print(asciiJSON(toArtifactObject(artifact)))
		}
		return a.print(artifactPage(artifact))
	})
}

// An artifactObject is an image in a registry.
type artifactObject struct {
	Reference   string            `json:"reference"`
	Digest      string            `json:"digest"`
	Format      string            `json:"format"`
	Targets     []targetObject    `json:"targets"`
	Others      []string          `json:"others,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A targetObject is an image for one target.
type targetObject struct {
	Target       string            `json:"target"`
	Architecture string            `json:"architecture"`
	Digest       string            `json:"digest"`
	Image        string            `json:"image,omitempty"`
	SizeBytes    int64             `json:"size_bytes,omitempty"`
	Devices      []registry.Device `json:"devices,omitempty"`
	MemoryMB     int               `json:"memory_mb,omitempty"`
	Arguments    []string          `json:"arguments,omitempty"`
}

func toArtifactObject(a *registry.Artifact) artifactObject {
	return artifactObject{
		Reference: a.Reference.String(), Digest: a.Reference.Digest, Format: string(a.Format), Others: a.Others, Annotations: a.Annotations,
		Targets: mapped(a.Targets, func(t registry.Target) targetObject {
			return targetObject{t.Name, t.Architecture, t.Digest, t.SHA256, t.Size, t.Devices, t.Memory, t.Arguments}
		}),
	}
}

// artifactPage shows all of an image in a registry.
func artifactPage(a *registry.Artifact) string {
	p := page{}
	p.add("reference", a.Reference.String())
	p.add("digest", a.Reference.Digest)
	p.add("format", string(a.Format))
	for _, key := range slices.Sorted(maps.Keys(a.Annotations)) {
		p.add(escape(strings.TrimPrefix(key, "org.opencontainers.image.")), escape(a.Annotations[key]))
	}
	for _, t := range a.Targets {
		p.add("target", targetText(t))
	}
	if len(a.Others) > 0 {
		p.add("also for", joined(a.Others, ", ", escape))
	}
	return p.String()
}

// targetText describes an image for one target.
func targetText(t registry.Target) string {
	text := escape(t.Name) + " on " + escape(t.Architecture)
	if t.Size > 0 {
		text += fmt.Sprintf(", %s, image %s", bytesText(t.Size), shortDigest(t.SHA256))
	}
	if len(t.Devices) > 0 {
		text += ", devices " + joined(t.Devices, " ", func(d registry.Device) string { return escape(d.Kind) + ":" + escape(d.Name) })
	}
	if t.Memory > 0 {
		text += ", memory " + mb(t.Memory)
	}
	if len(t.Arguments) > 0 {
		text += ", arguments " + joined(t.Arguments, " ", func(s string) string { return strconv.QuoteToASCII(s) })
	}
	return text
}

func (a *app) imageRemoveCommand() *cobra.Command {
	c := a.withReference(&cobra.Command{
		Use: "remove", Aliases: []string{"rm"}, Short: "Remove an image, or a tag, from a registry",
		Long: `Remove an image from a registry. With a digest, the image is removed with all tags that it has;
with a tag only that, which not every registry can do. When its room is free again, and whether
anything can be removed at all, is up to the operator of the registry.`,
		Example: "  albatross-client image remove oci://localhost:5000/web:1",
	}, func(ctx context.Context, client *registry.Client, r registry.Reference) error {
		if err := client.Remove(ctx, r); err != nil {
			return err
		}
		return a.sayReference("removed", r)
	})
	return c
}

// sayReference prints what was done with an image in a registry.
func (a *app) sayReference(done string, r registry.Reference) error {
	if a.format == jsonFormat {
		return a.print(asciiJSON(movedObject{done, r.String(), r.Digest}))
	}
	return a.print(done + " " + r.String())
}

// A movedObject says what was done with an image in a registry.
type movedObject struct {
	Result    string `json:"result"`
	Reference string `json:"reference"`
	Digest    string `json:"digest,omitempty"`
}

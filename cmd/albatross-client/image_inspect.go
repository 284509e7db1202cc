package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"albatross/sockets/registry"
)

func imageInspectCommand(out *printer) *cobra.Command {
	return withReference(out, &cobra.Command{
		Use: "inspect", Short: "Show an image in a registry: its digest, targets, devices, and who has made it",
		Example: "  albatross-client image inspect oci://localhost:5000/web:1",
	}, func(ctx context.Context, client *registry.Client, r registry.Reference) error {
		artifact, err := client.Resolve(ctx, r)
		if err != nil {
			return err
		}
		if out.format == jsonFormat {
			return out.print(asciiJSON(toArtifactObject(artifact)))
		}
		return out.print(artifactPage(artifact))
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

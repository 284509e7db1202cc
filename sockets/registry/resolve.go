package registry

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pull is the action of who only reads.
const pull = "pull"

// manifestTypes are the documents that we read.
var manifestTypes = []string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1), string(types.DockerManifestList), string(types.DockerManifestSchema2),
}

// architectures are those that unikernels are for, that of this program first: whoever asks is
// likely to be on the host, or on a machine of the same kind.
var architectures = preferred(runtime.GOARCH)

func preferred(own string) []string {
	if own == "arm64" {
		return []string{"arm64", "amd64"}
	}
	return []string{"amd64", "arm64"}
}

// Resolve asks a registry what a reference leads to. The reference of the artifact has the digest:
// whatever becomes of the tag, Fetch gets the same.
func (c *Client) Resolve(ctx context.Context, r Reference) (*Artifact, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, moveTime, errSlow)
	defer cancel()
	a, err := c.resolve(ctx, r)
	if err != nil {
		return nil, named(err, "get", r)
	}
	return a, nil
}

func (c *Client) resolve(ctx context.Context, r Reference) (*Artifact, error) {
	s, err := c.open(ctx, r, pull)
	if err != nil {
		return nil, err
	}
	data, mediaType, err := s.document(ctx, s.url("manifests", r.identifier()), r.Digest, maxDocument, manifestTypes...)
	if err != nil {
		return nil, err
	}
	a := &Artifact{Reference: r.At(digestOf(data)), site: s}
	if isIndex(data, mediaType) {
		return a, a.readIndex(ctx, data)
	}
	m, err := readManifest(data)
	if err != nil {
		return nil, err
	}
	a.Annotations = cleanAnnotations(m.Annotations)
	return a, a.readOnly(ctx, m)
}

// readOnly reads an artifact that is a manifest without an index.
func (a *Artifact) readOnly(ctx context.Context, m *v1.Manifest) (err error) {
	t, err := a.site.target(ctx, m, a.Reference.Digest)
	a.Format = Albatross
	if errors.Is(err, errContainer) {
		t, err = a.site.urunc(ctx, m, nil, a.Reference.Digest)
		a.Format = Urunc
	}
	a.Targets = []Target{t}
	return err
}

// readIndex reads the targets in an index: ours, or else those of container images that contain a
// unikernel. What is for other platforms stays unread.
func (a *Artifact) readIndex(ctx context.Context, data []byte) error {
	index, err := readIndex(data)
	if err != nil {
		return err
	}
	a.Annotations = cleanAnnotations(index.Annotations)
	var containers []v1.Descriptor
	for _, d := range index.Manifests {
		switch p := d.Platform; {
		case d.Annotations[referenceTypeNote] != "" || !d.MediaType.IsImage():
		case p != nil && p.OS == operatingSystem && slices.Contains(architectures, p.Architecture):
			err = a.add(ctx, d, false)
		case p == nil || p.OS == "linux" && slices.Contains(architectures, p.Architecture):
			containers = append(containers, d)
		default:
			a.Others = append(a.Others, platformText(p))
		}
		if err != nil {
			return err
		}
	}
	a.Format = Albatross
	if len(a.Targets) == 0 {
		a.Format = Urunc
		return a.readContainers(ctx, containers)
	}
	for _, d := range containers {
		a.Others = append(a.Others, platformText(d.Platform))
	}
	return nil
}

// readContainers reads the targets of container images: of those for one architecture, if any are
// for the first one, or else of all.
func (a *Artifact) readContainers(ctx context.Context, list []v1.Descriptor) error {
	first := func(d v1.Descriptor) bool { return d.Platform == nil || d.Platform.Architecture == architectures[0] }
	if slices.ContainsFunc(list, first) {
		for _, d := range list {
			if !first(d) {
				a.Others = append(a.Others, platformText(d.Platform))
			}
		}
		list = slices.DeleteFunc(list, func(d v1.Descriptor) bool { return !first(d) })
	}
	if len(list) == 0 {
		return because(Unusable, "there is no unikernel for %s in it", strings.Join(architectures, " or "))
	}
	for _, d := range list {
		if err := a.add(ctx, d, true); err != nil {
			return err
		}
	}
	return nil
}

// add reads a target that an index lists.
func (a *Artifact) add(ctx context.Context, d v1.Descriptor, container bool) error {
	if len(a.Targets) == maxTargets {
		return because(Invalid, "its index lists more than %d unikernels", maxTargets)
	}
	digest := d.Digest.String()
	data, _, err := a.site.document(ctx, a.site.url("manifests", digest), digest, d.Size, manifestTypes...)
	if err != nil {
		return err
	}
	m, err := readManifest(data)
	if err != nil {
		return err
	}
	t, err := a.site.target(ctx, m, digest)
	if container && errors.Is(err, errContainer) {
		t, err = a.site.urunc(ctx, m, d.Annotations, digest)
	}
	if err != nil {
		return err
	}
	a.Targets = append(a.Targets, t)
	return nil
}

// errContainer is about a manifest that is none of ours.
var errContainer = because(Unusable, "it is an image for something else than albatross")

// target reads a target in our format.
func (s *site) target(ctx context.Context, m *v1.Manifest, digest string) (t Target, err error) {
	if m.Config.MediaType != configType {
		return t, errContainer
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != layerType && m.Layers[0].MediaType != layerTypeGzip {
		return t, because(Invalid, "its manifest does not consist of one image")
	}
	data, err := s.small(ctx, m.Config, maxConfig)
	if err != nil {
		return t, err
	}
	c, err := readConfig(data, s.client.options.MaxImage)
	if err != nil {
		return t, err
	}
	return Target{
		Name: c.Target, Architecture: c.Architecture, Digest: digest, SHA256: c.Image.SHA256, Size: c.Image.Size,
		Devices: c.Devices, Memory: c.Memory, Arguments: c.Arguments, layers: m.Layers,
	}, nil
}

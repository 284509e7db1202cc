package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The media types of our images. A change that old clients would misunderstand gets another number.
const (
	ArtifactType      = "application/vnd.albatross.unikernel.v1"
	configType        = "application/vnd.albatross.unikernel.config.v1+json"
	layerType         = "application/vnd.albatross.unikernel.image.v1"
	layerTypeGzip     = layerType + "+gzip"
	operatingSystem   = "solo5" // of the platform; its variant is the target
	titleAnnotation   = "org.opencontainers.image.title"
	referenceTypeNote = "vnd.docker.reference.type" // marks what is no image, such as an attestation
)

// Limits of what a document may say.
const (
	maxConfig    = 256 << 10 // bytes of a configuration
	maxTargets   = 16        // in an index
	maxManifests = 256       // in an index, for whatever platforms
	maxDevices   = 64
	maxArguments = 1024
	maxText      = 32 << 10 // bytes of an argument or annotation
	maxMemory    = 1 << 20  // MB
)

// A Format is how an image is packaged.
type Format string

// The formats.
const (
	Albatross Format = "albatross"
	Urunc     Format = "urunc"
)

// An Artifact is what a reference has led to.
type Artifact struct {
	Reference   Reference // with its digest
	Format      Format
	Targets     []Target
	Others      []string          // platforms in the same index that are no unikernels for this machine
	Annotations map[string]string // who made it, for instance

	site *site
}

// A Target is an image for one target of Solo5, with what its manifest says.
type Target struct {
	Name         string // spt or hvt
	Architecture string
	Digest       string   // of its manifest
	SHA256       string   // of the image, in hexadecimal; empty: not known before Fetch
	Size         int64    // of the image, in bytes; 0: not known before Fetch
	Devices      []Device // nil also where they are not known before Fetch
	Memory       int      // MB that it is to have where nothing else is said; 0: unknown
	Arguments    []string // that it is to have where nothing else is said

	layers []v1.Descriptor // with the image; of a container image, the lowest first
	file   string          // in the layers of a container image
}

// A Device is one that the image declares.
type Device struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // net or block
}

// Choose returns the target that comes first in an order. One for the architecture of this program
// comes before any other: where both are on one host, no other runs there.
func (a *Artifact) Choose(order ...string) (Target, error) {
	for _, architecture := range architectures {
		for _, name := range order {
			for _, t := range a.Targets {
				if t.Name == name && t.Architecture == architecture {
					return t, nil
				}
			}
		}
	}
	names := make([]string, len(a.Targets))
	for i, t := range a.Targets {
		names[i] = t.Name
	}
	err := because(Unusable, "it is for %s, and %s is needed", quoteAll(names), strings.Join(order, " or "))
	return Target{}, named(err, "use", a.Reference)
}

// Without returns the artifact without the targets for an architecture, which the host does not have.
func (a *Artifact) Without(architecture string) *Artifact {
	rest := *a
	rest.Targets = slices.DeleteFunc(slices.Clone(a.Targets), func(t Target) bool { return t.Architecture == architecture })
	return &rest
}

// config is the document beside an image.
type config struct {
	Target       string      `json:"target"`
	Architecture string      `json:"architecture"`
	Image        imageConfig `json:"image"`
	Devices      []Device    `json:"devices"`
	Memory       int         `json:"memory_mb,omitempty"`
	Arguments    []string    `json:"arguments,omitempty"`
}

type imageConfig struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// readConfig reads and checks the configuration of an image.
func readConfig(data []byte, maxImage int64) (c config, err error) {
	if err := json.Unmarshal(data, &c); err != nil {
		return c, because(Invalid, "its configuration is no JSON that we understand: %w", err)
	}
	if err := c.check(maxImage); err != nil {
		return c, because(Invalid, "its configuration is not valid: %w", err)
	}
	return c, nil
}

func (c *config) check(maxImage int64) error {
	switch {
	case !isWord(c.Target) || !isWord(c.Architecture):
		return errors.New("its target or architecture is no word")
	case !isDigest("sha256:" + c.Image.SHA256):
		return errors.New("the SHA-256 of its image is none")
	case c.Image.Size <= 0:
		return errors.New("its image has no size")
	case c.Image.Size > maxImage:
		return fmt.Errorf("its image has %d bytes: at most %d are possible", c.Image.Size, maxImage)
	case len(c.Devices) > maxDevices:
		return fmt.Errorf("it has %d devices", len(c.Devices))
	case c.Memory < 0 || c.Memory > maxMemory:
		return fmt.Errorf("it is to have %d MB of memory", c.Memory)
	}
	for _, d := range c.Devices {
		if d.Kind != "net" && d.Kind != "block" || d.Name == "" || !isText(d.Name, 128) {
			return errors.New("a device of it has no name, or is of no kind that we know")
		}
	}
	return checkArguments(c.Arguments)
}

// checkArguments refuses arguments with which nothing could be started, or shown.
func checkArguments(args []string) error {
	if len(args) > maxArguments {
		return fmt.Errorf("it is to have %d arguments", len(args))
	}
	for i, arg := range args {
		if !utf8.ValidString(arg) || strings.ContainsRune(arg, 0) || len(arg) > maxText {
			return fmt.Errorf("argument %d is no text, or too long", i+1)
		}
	}
	return nil
}

func isWord(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// isText reports whether a text has a limited length, and no control characters.
func isText(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// cleanAnnotations returns those annotations that can be shown.
func cleanAnnotations(all map[string]string) map[string]string {
	clean := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if len(clean) < maxManifests && isText(key, 256) && utf8.ValidString(all[key]) && len(all[key]) <= maxText {
			clean[key] = all[key]
		}
	}
	return clean
}

// readIndex reads and checks an index.
func readIndex(data []byte) (*v1.IndexManifest, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, because(Invalid, "its index is no JSON that we understand: %w", err)
	}
	if len(index.Manifests) > maxManifests {
		return nil, because(Invalid, "its index lists %d images: at most %d are possible", len(index.Manifests), maxManifests)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d, maxDocument); err != nil {
			return nil, err
		}
	}
	return &index, nil
}

// readManifest reads and checks a manifest.
func readManifest(data []byte) (*v1.Manifest, error) {
	var m v1.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, because(Invalid, "its manifest is no JSON that we understand: %w", err)
	}
	if err := checkDescriptor(m.Config, maxDocument); err != nil {
		return nil, err
	}
	if len(m.Layers) > maxLayers {
		return nil, because(Invalid, "its manifest lists %d layers: at most %d are possible", len(m.Layers), maxLayers)
	}
	for _, d := range m.Layers {
		if err := checkDescriptor(d, maxLayer); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

// checkDescriptor refuses what cannot be got with certainty.
func checkDescriptor(d v1.Descriptor, limit int64) error {
	switch {
	case !isDigest(d.Digest.String()):
		return because(Invalid, "it names a part by a digest that is no SHA-256: %.80q", d.Digest.String())
	case d.Size < 0 || d.Size > limit:
		return because(Invalid, "a part of it has %d bytes: at most %d are possible", d.Size, limit)
	}
	return nil
}

// isIndex reports whether a document is an index; its media type may be in its header only.
func isIndex(data []byte, mediaType string) bool {
	var both struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(data, &both); err != nil {
		return false // whoever reads it says so
	}
	return both.MediaType.IsIndex() || both.MediaType == "" && (types.MediaType(mediaType).IsIndex() || both.Manifests != nil)
}

func platformText(p *v1.Platform) string {
	if p == nil {
		return "an unknown platform"
	}
	return strings.ToValidUTF8(p.String(), "?")
}

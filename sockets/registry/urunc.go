package registry

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// Limits of container images.
const (
	maxLayers   = 128
	maxLayer    = 1 << 30 // bytes of a layer, as it is sent
	maxUnpacked = 4 << 30 // and unpacked, up to what is needed of it
	maxEntries  = 1 << 17 // files in a layer
	maxNotes    = 64 << 10
	maxWindow   = 64 << 20 // bytes of memory to unpack zstd
)

// The keys of what urunc needs to know, in annotations, labels, or its file.
const (
	uruncPrefix     = "com.urunc.unikernel."
	uruncBinary     = uruncPrefix + "binary"
	uruncHypervisor = uruncPrefix + "hypervisor"
	uruncCommand    = uruncPrefix + "cmdline"
	uruncFile       = "/urunc.json"
)

// urunc reads a target from a container image as urunc packages it.
func (s *site) urunc(ctx context.Context, m *v1.Manifest, annotations map[string]string, digest string) (t Target, err error) {
	var container v1.ConfigFile
	data, err := s.small(ctx, m.Config, maxDocument)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(data, &container); err != nil {
		return t, because(Unusable, "it is neither an image of albatross nor a container image")
	}
	notes, found := firstNotes(annotations, m.Annotations, container.Config.Labels)
	if !found {
		if notes, err = s.notesInside(ctx, m.Layers); err != nil {
			return t, err
		}
	}
	t = Target{Name: notes[uruncHypervisor], Architecture: cmp.Or(container.Architecture, "amd64"), Digest: digest, layers: m.Layers}
	t.Arguments = append(container.Config.Entrypoint, container.Config.Cmd...)
	if len(t.Arguments) == 0 {
		t.Arguments = strings.Fields(notes[uruncCommand])
	}
	if err := checkArguments(t.Arguments); err != nil {
		return t, because(Invalid, "%w", err)
	}
	if t.Name != "spt" && t.Name != "hvt" {
		return t, because(Unusable, "the unikernel in it is for %.40q: only spt and hvt run here", t.Name)
	}
	t.file, err = insidePath(notes[uruncBinary])
	return t, err
}

// firstNotes returns the first of several sets that says where the unikernel is, decoded.
func firstNotes(sets ...map[string]string) (notes map[string]string, found bool) {
	for _, set := range sets {
		if set[uruncBinary] == "" {
			continue
		}
		notes = map[string]string{}
		for key, value := range set {
			if strings.HasPrefix(key, uruncPrefix) {
				notes[key] = decoded(value)
			}
		}
		return notes, true
	}
	return nil, false
}

// decoded returns a value, which urunc has in base 64, and some tools have not.
func decoded(value string) string {
	plain, err := base64.StdEncoding.DecodeString(value)
	if err != nil || !utf8.Valid(plain) || bytes.ContainsFunc(plain, unicode.IsControl) {
		return value
	}
	return string(plain)
}

// notesInside reads the notes of urunc in the layers.
func (s *site) notesInside(ctx context.Context, layers []v1.Descriptor) (map[string]string, error) {
	var data bytes.Buffer
	err := s.find(ctx, layers, uruncFile, maxNotes, &data)
	if errors.Is(err, errNoFile) {
		return nil, because(Unusable, "it is a container image without a unikernel: it has neither annotations of urunc nor %s", uruncFile)
	}
	if err != nil {
		return nil, err
	}
	return readNotes(data.Bytes())
}

// readNotes reads the file of urunc.
func readNotes(data []byte) (map[string]string, error) {
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, because(Invalid, "its %s is no JSON that we understand: %w", uruncFile, err)
	}
	texts := map[string]string{}
	for key, value := range all {
		if text, ok := value.(string); ok {
			texts[key] = text
		}
	}
	notes, found := firstNotes(texts)
	if !found {
		return nil, because(Unusable, "its %s does not say where the unikernel is", uruncFile)
	}
	return notes, nil
}

// insidePath returns the path of a file in layers.
func insidePath(name string) (string, error) {
	clean := path.Clean("/" + name)
	if name == "" || clean == "/" || !isText(name, 4096) {
		return "", because(Invalid, "it does not say in which file the unikernel is")
	}
	return clean, nil
}

// extract writes the image out of the layers of a container image.
func (s *site) extract(ctx context.Context, t Target, to *sink) error {
	err := s.find(ctx, t.layers, t.file, s.client.options.MaxImage, to)
	if errors.Is(err, errNoFile) {
		return because(Invalid, "there is no file %.200q in it", t.file)
	}
	return err
}

// errNoFile is about layers without a file that is looked for.
var errNoFile = errors.New("there is no such file")

// find writes a file in layers: that of the uppermost one that has it.
func (s *site) find(ctx context.Context, layers []v1.Descriptor, file string, limit int64, to io.Writer) error {
	for i := len(layers) - 1; i >= 0; i-- {
		err := s.findIn(ctx, layers[i], file, limit, to)
		if !errors.Is(err, errAbsent) {
			return err
		}
	}
	return errNoFile
}

// errAbsent is about a layer that leaves a file as it is in those below.
var errAbsent = errors.New("it is not in this layer")

// findIn looks for a file in a layer, all of which is verified before it returns.
func (s *site) findIn(ctx context.Context, layer v1.Descriptor, file string, limit int64, to io.Writer) error {
	raw, done := s.layer(ctx, layer)
	defer done()
	unpacked, release, err := unpack(raw, layer.MediaType)
	if err != nil {
		return unpackable(raw, err)
	}
	defer release()
	err = search(&capped{unpacked, s.client.unpacked}, file, limit, to)
	if err != nil && !errors.Is(err, errAbsent) && !errors.Is(err, errNoFile) {
		return unpackable(raw, err)
	}
	if err := drain(raw); err != nil {
		return err
	}
	return err
}

// unpack returns the archive in a layer.
func unpack(raw io.Reader, mediaType types.MediaType) (archive io.Reader, release func(), err error) {
	switch text := string(mediaType); {
	case strings.HasSuffix(text, "gzip"):
		z, err := gzip.NewReader(raw)
		return z, func() {}, err
	case strings.HasSuffix(text, "zstd"):
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case strings.HasSuffix(text, "tar"):
		return raw, func() {}, nil
	}
	return nil, nil, because(Unusable, "a layer of it is of a kind that we do not know: %.80q", mediaType)
}

// A capped reader fails where more is left than it may read.
type capped struct {
	io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, because(Invalid, "a layer of it unpacks to more than is allowed")
	}
	n, err := c.Reader.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// search looks for a file in an archive, until it has written it, or found what says that it is not there.
func search(archive io.Reader, file string, limit int64, to io.Writer) error {
	t := tar.NewReader(archive)
	removed := false
	for range maxEntries {
		header, err := t.Next()
		switch {
		case err == io.EOF && removed:
			return errNoFile
		case err == io.EOF:
			return errAbsent
		case err != nil:
			return err
		}
		switch name := path.Clean("/" + header.Name); {
		case name == file:
			return contents(t, header, limit, to)
		case removes(name, file):
			removed = true // it may be in this layer all the same
		}
	}
	return fmt.Errorf("there are more than %d files in it", maxEntries)
}

// contents writes a file that was found.
func contents(t *tar.Reader, header *tar.Header, limit int64, to io.Writer) error {
	switch {
	case header.Typeflag != tar.TypeReg:
		return because(Invalid, "%.200q in it is no file, but a link, a directory or a device", header.Name)
	case header.Size > limit:
		return because(Invalid, "%.200q in it has %d bytes: at most %d are possible", header.Name, header.Size, limit)
	}
	_, err := io.Copy(to, io.LimitReader(t, limit))
	return err
}

// removes reports whether an entry of a layer removes a file of those below: the entry .wh.NAME removes
// NAME beside it, and .wh..wh..opq all that is there.
func removes(entry, file string) bool {
	const mark, all = ".wh.", ".wh..wh..opq"
	dir, base := path.Split(entry)
	name, marked := strings.CutPrefix(base, mark)
	switch {
	case !marked:
		return false
	case base == all:
		return strings.HasPrefix(file, dir)
	}
	target := dir + name
	return file == target || strings.HasPrefix(file, target+"/")
}

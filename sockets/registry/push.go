package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An Image is what Push writes for one target.
type Image struct {
	Target       string // spt or hvt
	Architecture string // amd64 or arm64
	File         string // its name for tools that write it to a file; may be empty
	Contents     []byte
	Devices      []Device
	Memory       int // MB that it is to have where nothing else is said; 0: nothing is said
	Arguments    []string
}

// push are the actions of who writes.
const push = "pull,push"

// Push writes images for several targets as one index, and returns its reference with the digest.
// The same images yield the same digest each time.
func (c *Client) Push(ctx context.Context, r Reference, images []Image, annotations map[string]string) (Reference, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, moveTime, errSlow)
	defer cancel()
	digest, err := c.push(ctx, r, images, annotations)
	if err != nil {
		return r, named(err, "push", r)
	}
	return r.At(digest), nil
}

func (c *Client) push(ctx context.Context, r Reference, images []Image, annotations map[string]string) (digest string, err error) {
	if r.Digest != "" {
		return "", because(Unusable, "a digest cannot be chosen: give a tag")
	}
	s, err := c.open(ctx, r, push)
	if err != nil {
		return "", err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, ArtifactType: ArtifactType, Annotations: annotations}
	for _, image := range images {
		d, err := s.pushImage(ctx, image)
		if err != nil {
			return "", err
		}
		index.Manifests = append(index.Manifests, d)
	}
	d, err := s.pushManifest(ctx, r.Tag, index.MediaType, index)
	return d.Digest.String(), err
}

// pushImage writes the manifest of an image, after what it names.
func (s *site) pushImage(ctx context.Context, image Image) (d v1.Descriptor, err error) {
	sum := sha256.Sum256(image.Contents)
	c := config{
		Target: image.Target, Architecture: image.Architecture, Image: imageConfig{hex.EncodeToString(sum[:]), int64(len(image.Contents))},
		Devices: image.Devices, Memory: image.Memory, Arguments: image.Arguments,
	}
	if err := c.check(s.client.options.MaxImage); err != nil {
		return d, because(Unusable, "%w", err)
	}
	packed, err := packed(image.Contents)
	if err != nil {
		return d, err
	}
	data, err := json.Marshal(c)
	if err != nil {
		return d, err
	}
	layer := descriptor(packed, layerTypeGzip)
	if image.File != "" {
		layer.Annotations = map[string]string{titleAnnotation: image.File + ".gz"}
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: ArtifactType,
		Config: descriptor(data, configType), Layers: []v1.Descriptor{layer},
	}
	if err := s.pushBlob(ctx, layer.Digest.String(), packed); err != nil {
		return d, err
	}
	if err := s.pushBlob(ctx, m.Config.Digest.String(), data); err != nil {
		return d, err
	}
	d, err = s.pushManifest(ctx, "", m.MediaType, m)
	d.ArtifactType = ArtifactType
	d.Platform = &v1.Platform{OS: operatingSystem, Architecture: image.Architecture, Variant: image.Target}
	return d, err
}

// packed returns an image as it is sent, without a time: it is the same each time.
func packed(image []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(image); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

func descriptor(data []byte, mediaType types.MediaType) v1.Descriptor {
	sum := sha256.Sum256(data)
	return v1.Descriptor{MediaType: mediaType, Size: int64(len(data)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
}

// pushManifest writes a document, under a tag or without.
func (s *site) pushManifest(ctx context.Context, tag string, mediaType types.MediaType, document any) (v1.Descriptor, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := descriptor(data, mediaType)
	if tag == "" {
		tag = d.Digest.String()
	}
	return d, s.again(ctx, func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url("manifests", tag).String(), bytes.NewReader(data))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", string(mediaType))
		return s.do(r, http.StatusCreated)
	})
}

// do sends a request whose answer has nothing that is needed.
func (s *site) do(r *http.Request, expected ...int) error {
	answer, err := s.send(r, expected...)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// has reports whether the registry has a blob already.
func (s *site) has(ctx context.Context, digest string) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, s.url("blobs", digest).String(), nil)
	if err != nil {
		return false, err
	}
	answer, err := s.send(r, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	return answer.StatusCode == http.StatusOK, answer.Body.Close()
}

// pushBlob writes a blob that the registry lacks.
func (s *site) pushBlob(ctx context.Context, digest string, data []byte) error {
	var there bool
	err := s.again(ctx, func() (err error) {
		there, err = s.has(ctx, digest)
		return err
	})
	if err != nil || there {
		return err
	}
	u := upload{site: s, data: data, digest: digest, chunk: len(data)}
	return u.run(ctx)
}

// chunk is how much is sent in one request after a connection broke: what the registry has
// acknowledged need not be sent again.
const chunk = 4 << 20

// An upload sends a blob: all in one request, or, once that has broken, in chunks. It goes on where
// it broke, if the registry knows where that was.
type upload struct {
	site    *site
	data    []byte
	digest  string
	at      *url.URL // the session at the registry; nil: there is none
	offset  int      // what the registry has
	chunk   int      // how much is sent in one request
	failed  int      // attempts that have brought nothing
	highest int      // how far any attempt has come
}

func (u *upload) run(ctx context.Context) error {
	for {
		e := u.site.explain(u.step(ctx))
		switch {
		case e == nil && u.offset == len(u.data):
			return u.finish(ctx)
		case e == nil:
			continue
		case e.passes():
		case u.at != nil && u.failed > 0: // it does not go on where it said that it would
			u.at = nil
		default:
			return e
		}
		if err := u.wait(ctx, e); err != nil {
			return err
		}
		u.chunk = u.site.client.chunk
		u.ask(ctx)
	}
}

// wait decides about trouble: it returns nil when it is time to try again.
func (u *upload) wait(ctx context.Context, e *Error) error {
	if u.offset > u.highest {
		u.highest, u.failed = u.offset, 0
	}
	u.failed++
	if u.failed == maxAttempts {
		return &Error{Kind: e.Kind, Err: fmt.Errorf("at byte %d of %d: %w", u.offset, len(u.data), e.Err)}
	}
	return u.site.client.pause(ctx, e.delay(u.failed))
}

// step begins a session, or sends a chunk.
func (u *upload) step(ctx context.Context) error {
	if u.at == nil {
		u.offset = 0
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.site.url("blobs", "uploads/").String(), nil)
		if err != nil {
			return err
		}
		return u.send(r, http.StatusAccepted)
	}
	end := min(u.offset+u.chunk, len(u.data))
	part := u.data[u.offset:end]
	counted, done := u.site.client.options.Progress("sending", int64(len(part)), bytes.NewReader(part))
	defer done()
	ctx, alive, stop := u.site.client.watch(ctx)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.at.String(), io.NopCloser(&watched{counted, alive}))
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(part))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(part)), nil }
	r.Header.Set("Content-Type", "application/octet-stream")
	if len(part) < len(u.data) { // some registries know no ranges: a whole blob does without
		r.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, end-1))
	}
	if err := u.send(r, http.StatusAccepted); err != nil {
		return err
	}
	u.offset = end
	return nil
}

// send sends a request of a session, and learns where the next one goes.
func (u *upload) send(r *http.Request, expected ...int) error {
	answer, err := u.site.send(r, expected...)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil {
		return err
	}
	at, err := answer.Location()
	if err != nil {
		return because(Invalid, "the registry does not say where to send it to")
	}
	u.at = at
	return nil
}

// ask asks how much of the blob the registry has. If it does not know, another session begins.
func (u *upload) ask(ctx context.Context) {
	if u.at == nil {
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.at.String(), nil)
	if err == nil {
		var answer *http.Response
		if answer, err = u.site.send(r, http.StatusNoContent, http.StatusAccepted); err == nil {
			_ = answer.Body.Close() // nothing of it is needed
			u.offset, err = received(answer.Header.Get("Range"), len(u.data))
			if at, locationErr := answer.Location(); locationErr == nil {
				u.at = at
			}
		}
	}
	if err != nil {
		u.at = nil
	}
}

// received returns how many bytes a registry has, as a range 0-N says it, whose end is included.
func received(text string, size int) (int, error) {
	first, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	n, err := strconv.Atoi(last)
	switch {
	case !ok || err != nil || first != "0" || n < 0 || n >= size:
		return 0, because(Invalid, "the registry does not say how much it has")
	case n == 0: // of nothing, as registries say it
		return 0, nil
	}
	return n + 1, nil
}

// finish names what was sent. If the answer is lost, the registry may have it all the same.
func (u *upload) finish(ctx context.Context) error {
	err := u.site.again(ctx, func() error { return u.name(ctx) })
	if err != nil {
		if there, hasErr := u.site.has(ctx, u.digest); hasErr == nil && there {
			return nil
		}
	}
	return err
}

func (u *upload) name(ctx context.Context) error {
	query := u.at.Query()
	query.Set("digest", u.digest)
	u.at.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, u.at.String(), nil)
	if err != nil {
		return err
	}
	return u.site.do(r, http.StatusCreated)
}

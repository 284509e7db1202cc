package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Fetch returns the image of a target, after all of it was verified.
func (c *Client) Fetch(ctx context.Context, a *Artifact, t Target) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, moveTime, errSlow)
	defer cancel()
	read := a.site.image
	if t.file != "" {
		read = a.site.extract
	}
	image, err := read(ctx, t)
	if err != nil {
		return nil, named(err, "get", a.Reference)
	}
	return image, nil
}

// layer reads a layer, with progress. Its user closes it, and has verified it only at io.EOF.
func (s *site) layer(ctx context.Context, d v1.Descriptor) (raw io.Reader, done func()) {
	b := s.blob(ctx, d)
	counted, shown := s.client.options.Progress("fetching", d.Size, b)
	return counted, func() { b.Close(); shown() }
}

// image reads an image in our format.
func (s *site) image(ctx context.Context, t Target) ([]byte, error) {
	raw, done := s.layer(ctx, t.layers[0])
	defer done()
	unpacked := raw
	if t.layers[0].MediaType == layerTypeGzip {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, unpackable(raw, err)
		}
		unpacked = z
	}
	var image bytes.Buffer
	n, err := image.ReadFrom(io.LimitReader(unpacked, t.Size+1))
	switch {
	case err != nil:
		return nil, unpackable(raw, err)
	case n > t.Size:
		return nil, because(Invalid, "its image unpacks to more than the %d bytes that were announced", t.Size)
	}
	if err := drain(raw); err != nil {
		return nil, err
	}
	return image.Bytes(), t.verify(image.Bytes())
}

// verify returns an error if an image is not what its configuration says.
func (t Target) verify(image []byte) error {
	sum := sha256.Sum256(image)
	if got := hex.EncodeToString(sum[:]); got != t.SHA256 || int64(len(image)) != t.Size {
		return because(Invalid, "its image has %d bytes with the SHA-256 %s, and should have %d with %s", len(image), got, t.Size, t.SHA256)
	}
	return nil
}

// unpackable returns why a layer cannot be unpacked: it may be another one than it should be.
func unpackable(raw io.Reader, err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return err
	}
	if err := drain(raw); err != nil {
		return err
	}
	return &Error{Kind: Invalid, Err: fmt.Errorf("a layer of it cannot be unpacked: %w", err)}
}

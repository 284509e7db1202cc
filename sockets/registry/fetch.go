package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Fetch returns the image of a target, after all of it was verified.
func (c *Client) Fetch(ctx context.Context, a *Artifact, t Target) ([]byte, error) {
	var image bytes.Buffer
	if err := c.FetchTo(ctx, a, t, &image); err != nil {
		return nil, err
	}
	return image.Bytes(), nil
}

// FetchTo writes the image of a target, as it arrives. It is verified when FetchTo returns nil; after an error
// what was written may be anything.
func (c *Client) FetchTo(ctx context.Context, a *Artifact, t Target, w io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, moveTime, errSlow)
	defer cancel()
	read := a.site.image
	if t.file != "" {
		read = a.site.extract
	}
	to := &sink{Writer: w, sum: sha256.New()}
	err := read(ctx, t, to)
	switch {
	case to.err != nil:
		return fmt.Errorf("cannot keep the image of %s: %w", a.Reference, to.err)
	case err != nil:
		return named(err, "get", a.Reference)
	}
	return nil
}

// A sink is where an image is written. Why that is not possible is no fault of the registry's.
type sink struct {
	io.Writer
	sum  hash.Hash
	size int64
	err  error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	s.err = err
	s.size += int64(n)
	_, _ = s.sum.Write(b[:n]) // it does not fail
	return n, err
}

// layer reads a layer, with progress. Its user closes it, and has verified it only at io.EOF.
func (s *site) layer(ctx context.Context, d v1.Descriptor) (raw io.Reader, done func()) {
	b := s.blob(ctx, d)
	counted, shown := s.client.options.Progress("fetching", d.Size, b)
	return counted, func() { b.Close(); shown() }
}

// image writes an image in our format.
func (s *site) image(ctx context.Context, t Target, to *sink) error {
	raw, done := s.layer(ctx, t.layers[0])
	defer done()
	unpacked := raw
	if t.layers[0].MediaType == layerTypeGzip {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return unpackable(raw, err)
		}
		unpacked = z
	}
	n, err := io.Copy(to, io.LimitReader(unpacked, t.Size+1))
	switch {
	case err != nil:
		return unpackable(raw, err)
	case n > t.Size:
		return because(Invalid, "its image unpacks to more than the %d bytes that were announced", t.Size)
	}
	if err := drain(raw); err != nil {
		return err
	}
	return t.verify(to)
}

// verify returns an error if an image is not what its configuration says.
func (t Target) verify(image *sink) error {
	if got := hex.EncodeToString(image.sum.Sum(nil)); got != t.SHA256 || image.size != t.Size {
		return because(Invalid, "its image has %d bytes with the SHA-256 %s, and should have %d with %s", image.size, got, t.Size, t.SHA256)
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

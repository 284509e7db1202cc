package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A blob reads a layer or configuration. It goes on where the connection broke, a few times. Only
// at its end is it certain that it was the right one: a reader believes nothing before io.EOF.
type blob struct {
	site    *site
	want    v1.Descriptor
	ctx     context.Context
	sum     hash.Hash
	offset  int64
	body    io.ReadCloser
	alive   func()             // says that the registry is not silent
	stop    context.CancelFunc // ends the request
	failed  int                // attempts that have brought nothing
	highest int64              // how far any attempt has come
	err     error              // why no more can be read
}

func (s *site) blob(ctx context.Context, want v1.Descriptor) *blob {
	return &blob{site: s, want: want, ctx: ctx, sum: sha256.New()}
}

// Close ends the request.
func (b *blob) Close() {
	if b.body == nil {
		return
	}
	_ = b.body.Close() // it was read, or is of no use
	b.stop()
	b.body = nil
}

// Read returns io.EOF only after the right digest. After an error nothing is asked for any more.
func (b *blob) Read(p []byte) (n int, err error) {
	if b.err == nil {
		n, b.err = b.read(p)
	}
	return n, b.err
}

func (b *blob) read(p []byte) (int, error) {
	for {
		if b.offset == b.want.Size {
			return 0, b.end()
		}
		n, err := b.some(p[:min(int64(len(p)), b.want.Size-b.offset)])
		if n > 0 || err == nil && len(p) == 0 {
			b.sum.Write(p[:n])
			b.offset += int64(n)
			return n, nil // what is wrong comes again
		}
		if err == nil {
			continue
		}
		if err := b.wait(err); err != nil {
			return 0, err
		}
	}
}

// some reads from the request, and makes it if there is none.
func (b *blob) some(p []byte) (int, error) {
	if b.body == nil {
		if err := b.request(); err != nil {
			return 0, err
		}
	}
	n, err := b.body.Read(p)
	b.alive()
	if n == 0 && err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// end verifies what was read: nothing follows, and the digest is right.
func (b *blob) end() error {
	if b.body != nil {
		if n, _ := io.ReadFull(b.body, make([]byte, 1)); n > 0 {
			return because(Invalid, "a part of it is longer than the %d bytes that were announced", b.want.Size)
		}
	}
	if got := "sha256:" + hex.EncodeToString(b.sum.Sum(nil)); got != b.want.Digest.String() {
		return because(Invalid, "a part of it has the digest %s, and should have %s", got, b.want.Digest)
	}
	return io.EOF
}

// wait decides about an error: it returns nil when it is time to try again.
func (b *blob) wait(err error) error {
	b.Close()
	if b.offset > b.highest {
		b.highest, b.failed = b.offset, 0
	}
	b.failed++
	e := b.site.explain(err)
	switch {
	case b.ctx.Err() != nil:
		return context.Cause(b.ctx)
	case !e.passes():
		return e
	case b.failed == maxAttempts:
		return &Error{Kind: e.Kind, Err: fmt.Errorf("at byte %d of %d: %w", b.offset, b.want.Size, e.Err)}
	}
	return b.site.client.pause(b.ctx, e.delay(b.failed))
}

// request asks for what is missing.
func (b *blob) request() (err error) {
	var ctx context.Context
	ctx, b.alive, b.stop = b.site.client.watch(b.ctx)
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.site.url("blobs", b.want.Digest.String()).String(), nil)
	if err != nil {
		return err
	}
	if b.offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
	}
	answer, err := b.site.send(r, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return err
	}
	body := &caused{answer.Body, ctx}
	if err := b.accept(answer, body); err != nil {
		_ = answer.Body.Close() // it is of no use
		return err
	}
	b.body = body
	return nil
}

// accept checks that an answer goes on where the last one broke. A registry that knows no ranges
// begins again: then what is there already is skipped.
func (b *blob) accept(answer *http.Response, body io.Reader) error {
	length := b.want.Size - b.offset
	if answer.StatusCode == http.StatusOK {
		length = b.want.Size
	} else if begin := fmt.Sprintf("bytes %d-", b.offset); !strings.HasPrefix(answer.Header.Get("Content-Range"), begin) {
		return because(Invalid, "the registry sends other bytes than those that it was asked for")
	}
	switch {
	case answer.Header.Get("Content-Encoding") != "":
		return because(Invalid, "the registry sends it in an encoding that was not asked for")
	case answer.ContentLength >= 0 && answer.ContentLength != length:
		return because(Invalid, "the registry sends %d bytes of a part that has %d", answer.ContentLength, length)
	case answer.StatusCode == http.StatusPartialContent:
		return nil
	}
	_, err := io.CopyN(io.Discard, &watched{body, b.alive}, b.offset)
	return err
}

// watch returns a context that ends when a registry is silent for too long: when alive was not called
// for the patience of the client. The caller calls stop.
func (c *Client) watch(parent context.Context) (ctx context.Context, alive func(), stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	timer := time.AfterFunc(c.options.Patience, func() { cancel(errSilent) })
	return ctx, func() { timer.Reset(c.options.Patience) }, func() { timer.Stop(); cancel(nil) }
}

// caused is a body whose errors tell why the request was ended.
type caused struct {
	io.ReadCloser
	ctx context.Context
}

func (c *caused) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && err != io.EOF && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	return n, err
}

// A watched reader calls alive for every read that has got something.
type watched struct {
	io.Reader
	alive func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// small gets a whole blob.
func (s *site) small(ctx context.Context, want v1.Descriptor, limit int64) ([]byte, error) {
	if want.Size > limit {
		return nil, because(Invalid, "a part of it has %d bytes: at most %d are possible", want.Size, limit)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSlow)
	defer cancel()
	b := s.blob(ctx, want)
	defer b.Close()
	return io.ReadAll(b)
}

// drain reads the rest of a blob, which verifies it.
func drain(b io.Reader) error {
	if _, err := io.Copy(io.Discard, b); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

package builds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// MaxImage is the largest image that is fetched, in bytes, as for the daemon.
const MaxImage = 1 << 30

// errEncoded is for an answer whose hash would not be that of the image.
var errEncoded = errors.New("the server sends it in an encoding that was not asked for")

// Fetch returns the image of a build, of so many bytes at most. It reads by counted, if that is
// not nil, which gets the announced size; -1: none is.
func (s *Server) Fetch(ctx context.Context, b Build, limit int64, counted func(size int64, r io.Reader) io.Reader) ([]byte, error) {
	return s.Get(ctx, s.path(b, "/main-binary"), limit, counted)
}

// Get returns what is at an address, as Fetch does.
func (s *Server) Get(ctx context.Context, u *url.URL, limit int64, counted func(size int64, r io.Reader) io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTime, errSlow)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watch := time.AfterFunc(s.patience, func() { stop(errSilent) })
	defer watch.Stop()

	answer, err := s.get(ctx, u)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or is of no use
	image, err := read(answer, limit, func(r io.Reader) io.Reader {
		if counted != nil {
			r = counted(answer.ContentLength, r)
		}
		return &watched{r, func() { watch.Reset(s.patience) }}
	})
	if err == nil {
		err = matches(image, answer.Header)
	}
	if err != nil {
		return nil, &Error{u.String(), cause(ctx, err)}
	}
	return image, nil
}

// read reads the body of an answer, if that is not larger than the limit.
func read(answer *http.Response, limit int64, through func(io.Reader) io.Reader) ([]byte, error) {
	switch {
	case isRedirect(answer.StatusCode):
		return nil, errors.New("it leads to a page")
	case answer.Header.Get("Content-Encoding") != "":
		return nil, errEncoded
	case answer.ContentLength > limit:
		return nil, tooLarge(limit)
	}
	var image bytes.Buffer
	n, err := image.ReadFrom(io.LimitReader(through(answer.Body), limit+1))
	if err == nil && n > limit {
		err = tooLarge(limit)
	}
	return image.Bytes(), err
}

func tooLarge(limit int64) error { return fmt.Errorf("it is larger than %d bytes", limit) }

// A watched reader calls alive for every read that has got something.
type watched struct {
	io.Reader
	alive func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// matches returns an error if the server has announced the hash of something else.
func matches(image []byte, header http.Header) error {
	got := sha256.Sum256(image)
	for _, want := range announced(header) {
		if !bytes.Equal(got[:], want) {
			return fmt.Errorf("the image has the SHA-256 %x, and the server announces %x", got, want)
		}
	}
	return nil
}

// announced returns the SHA-256 hashes of the contents in a header: in fields for that, and in
// the ETag, where builder-web has it in base 64.
func announced(header http.Header) (hashes [][]byte) {
	for _, field := range []string{"Repr-Digest", "Content-Digest", "Digest"} {
		for _, entry := range strings.Split(strings.Join(header.Values(field), ","), ",") {
			algorithm, value, _ := strings.Cut(strings.TrimSpace(entry), "=")
			if strings.EqualFold(algorithm, "sha-256") {
				hashes = appendHash(hashes, strings.Trim(value, ":"))
			}
		}
	}
	return appendHash(hashes, strings.Trim(header.Get("ETag"), `"`))
}

// appendHash appends a hash in base 64 or hexadecimal; other texts are none.
func appendHash(hashes [][]byte, text string) [][]byte {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if hash, err := decode(text); err == nil && len(hash) == sha256.Size {
			return append(hashes, hash)
		}
	}
	return hashes
}

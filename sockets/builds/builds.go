// Package builds asks a builder-web, which keeps reproducible builds of unikernels, for the
// build that an image is from, for the newest one of its job, and for the image of that.
//
// The server is trusted with what runs, but with nothing else: redirects lead to http or https
// only, never from https to http, and not for ever; an answer has a bound in size and time; and
// an image that differs from the hash that the server itself announces is refused.
package builds

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"
)

const (
	// maxRedirects is how many redirects are followed for one question.
	maxRedirects = 5
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// DefaultPatience is how long the server may be silent.
	DefaultPatience = 30 * time.Second
	// fetchTime bounds how long an image may be on its way.
	fetchTime = time.Hour
)

// A Server is a builder-web. Its user closes it.
type Server struct {
	base     *url.URL
	client   *http.Client
	patience time.Duration
}

// A Build is one run of a job, in the server's words.
type Build struct{ Job, ID string }

// An Error says why a server is of no use. Texts of the server in it are not escaped.
type Error struct {
	URL string
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("cannot get %s: %v", e.URL, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// ErrUnknown is the error for an image, a job or a build that the server does not have.
var ErrUnknown = errors.New("the server does not have it (404)")

var (
	errDowngrade = errors.New("it redirects from https to http")
	errScheme    = errors.New("it redirects to what is neither http nor https")
	errRedirects = fmt.Errorf("it redirects more than %d times", maxRedirects)
	errSilent    = errors.New("the server is silent for too long")
	errSlow      = errors.New("the server takes too long")
)

// ParseBase parses the address of a server.
func ParseBase(address string) (*url.URL, error) {
	base, err := url.Parse(address)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("expected a URL, such as https://builds.example.org")
	}
	return base, nil
}

// At returns the server at an address, which may be silent for so long.
func At(base *url.URL, patience time.Duration) *Server {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // hashes and sizes are those of what is sent
	transport.MaxResponseHeaderBytes = maxHeader
	transport.TLSHandshakeTimeout = patience
	return &Server{base: base, client: &http.Client{Transport: transport, CheckRedirect: mayRedirect}, patience: patience}
}

// Close closes the connections to the server.
func (s *Server) Close() { s.client.CloseIdleConnections() }

// Of returns the build that an image is from. A build of the same image may be in several jobs:
// the server chooses.
func (s *Server) Of(ctx context.Context, digest []byte) (Build, error) {
	u := s.base.JoinPath("hash")
	u.RawQuery = "sha256=" + hex.EncodeToString(digest)
	return s.build(ctx, u)
}

// Latest returns the newest successful build of a job.
func (s *Server) Latest(ctx context.Context, job string) (Build, error) {
	u := s.path(Build{job, "latest"}, "/")
	b, err := s.build(ctx, u)
	if err == nil && b.Job != job {
		err = &Error{u.String(), fmt.Errorf("it leads to another job, %s", b.Job)}
	}
	return b, err
}

// Comparison returns the address of a page that shows how two builds differ.
func (s *Server) Comparison(from, to Build) string {
	return s.base.JoinPath("compare", url.PathEscape(from.ID), url.PathEscape(to.ID)).String() + "/"
}

// path returns the address of something about a build.
func (s *Server) path(b Build, rest string) *url.URL {
	return s.base.JoinPath("job", url.PathEscape(b.Job), "build", url.PathEscape(b.ID)+rest)
}

// build returns the build to which an address redirects.
func (s *Server) build(ctx context.Context, u *url.URL) (Build, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience, errSilent)
	defer cancel()
	answer, err := s.get(ctx, u)
	if err != nil {
		return Build{}, err
	}
	defer func() { _ = answer.Body.Close() }() // nothing of it is read
	target := answer.Request.URL
	if isRedirect(answer.StatusCode) {
		target, err = answer.Location()
	}
	b, ok := buildAt(target)
	switch {
	case err != nil:
		return b, &Error{u.String(), err}
	case !ok:
		return b, &Error{u.String(), fmt.Errorf("it leads to no build, but to %s", target)}
	}
	return b, nil
}

var buildPath = regexp.MustCompile(`/job/([^/]+)/build/([^/]+)/?$`)

// buildAt returns the build whose page has an address.
func buildAt(u *url.URL) (b Build, ok bool) {
	if u == nil {
		return b, false
	}
	match := buildPath.FindStringSubmatch(u.EscapedPath())
	if match == nil {
		return b, false
	}
	job, jobErr := url.PathUnescape(match[1])
	id, idErr := url.PathUnescape(match[2])
	return Build{job, id}, jobErr == nil && idErr == nil && id != "latest"
}

// mayRedirect refuses redirects that lead astray, and ends at the page of a build, which nobody
// needs.
func mayRedirect(next *http.Request, before []*http.Request) error {
	last := before[len(before)-1].URL
	_, found := buildAt(next.URL)
	switch {
	case next.URL.Scheme != "http" && next.URL.Scheme != "https":
		return errScheme
	case last.Scheme == "https" && next.URL.Scheme == "http":
		return errDowngrade
	case found:
		return http.ErrUseLastResponse
	case len(before) > maxRedirects:
		return errRedirects
	}
	return nil
}

func isRedirect(status int) bool { return status >= 300 && status < 400 }

// get asks for an address. The caller closes the body of the answer, which is a success, or a
// redirect to the page of a build.
func (s *Server) get(ctx context.Context, u *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{u.String(), err}
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, &Error{u.String(), cause(ctx, err)}
	}
	if answer.StatusCode == http.StatusOK || isRedirect(answer.StatusCode) && answer.Header.Get("Location") != "" {
		return answer, nil
	}
	err = fmt.Errorf("the server answers %s", answer.Status)
	if answer.StatusCode == http.StatusNotFound {
		err = ErrUnknown
	}
	return nil, errors.Join(&Error{u.String(), err}, answer.Body.Close())
}

// cause returns why a request has failed, without its address.
func cause(ctx context.Context, err error) error {
	var at *url.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &at):
		return at.Err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before all of it had come")
	}
	return err
}

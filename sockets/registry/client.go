package registry

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// MaxImage is the largest image that is read or written, in bytes, as for the daemon.
	MaxImage = 1 << 30
	// DefaultPatience is how long a registry may be silent.
	DefaultPatience = 30 * time.Second
	// askTime bounds one question, and its repetitions.
	askTime = 2 * time.Minute
	// moveTime bounds how long an image may be on its way.
	moveTime = time.Hour
	// dialTime bounds how long it takes to reach somebody.
	dialTime = 10 * time.Second
	// maxRedirects is how many redirects are followed for one question.
	maxRedirects = 5
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// maxDocument bounds an index or a manifest, as most registries do, in bytes.
	maxDocument = 4 << 20
	// maxAttempts is how often something is tried while nothing of it succeeds.
	maxAttempts = 5
	// maxWait bounds how long a registry is waited for that asks for that.
	maxWait = 10 * time.Second
)

// pingPath is what every registry knows.
const pingPath = "/v2/"

// Options are what a client may do. The zero value is usable.
type Options struct {
	// Insecure: registries other than those of this machine may speak http, or have a certificate
	// that nobody vouches for.
	Insecure bool
	// Keychain holds credentials; nil: Docker's and Podman's files and helpers.
	Keychain authn.Keychain
	// Patience is how long a registry may be silent; 0: DefaultPatience.
	Patience time.Duration
	// MaxImage bounds an image, in bytes; 0: the constant of this name.
	MaxImage int64
	// Progress gets what is read or sent, and its size in bytes (-1: unknown). What it returns is
	// read instead, and done called when that ends. nil: nobody looks on.
	Progress func(what string, size int64, r io.Reader) (counted io.Reader, done func())
}

// A Client asks registries. Its methods may be called concurrently. Its user closes it.
type Client struct {
	options  Options
	base     *http.Transport
	unpacked int64                                            // maxUnpacked, except in tests
	chunk    int                                              // likewise
	pause    func(ctx context.Context, d time.Duration) error // waits; in tests, it does not
}

// New returns a client.
func New(options Options) *Client {
	if options.Keychain == nil {
		options.Keychain = authn.DefaultKeychain
	}
	if options.Patience == 0 {
		options.Patience = DefaultPatience
	}
	if options.MaxImage == 0 {
		options.MaxImage = MaxImage
	}
	if options.Progress == nil {
		options.Progress = func(_ string, _ int64, r io.Reader) (io.Reader, func()) { return r, func() {} }
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.DialContext = (&net.Dialer{Timeout: dialTime}).DialContext
	base.DisableCompression = true // digests and sizes are those of what is sent
	base.MaxResponseHeaderBytes = maxHeader
	base.TLSHandshakeTimeout = min(dialTime, options.Patience)
	base.ResponseHeaderTimeout = options.Patience
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: options.Insecure} // only where that was said
	return &Client{options: options, base: base, unpacked: maxUnpacked, chunk: chunk, pause: pause}
}

// Close closes the connections to registries.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// A site is a repository, or a whole registry, with what is needed to ask it.
type site struct {
	client    *Client
	registry  name.Registry
	path      string // of the repository; empty: the registry
	anonymous bool
	web       *http.Client
}

// open introduces us to a registry, for pull or push or other actions on a repository.
func (c *Client) open(ctx context.Context, r Reference, actions string) (*site, error) {
	options := []name.Option{name.StrictValidation}
	if host, _, _ := strings.Cut(r.Registry, "/"); c.mayBePlain(hostname(host)) {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(r.Registry, options...)
	if err != nil {
		return nil, badReference(err.Error())
	}
	s := &site{client: c, registry: registry}
	var target authn.Resource = registry
	scope := registry.Scope("")
	if r.Repository != "" {
		repository, err := name.NewRepository(r.Registry+"/"+r.Repository, options...)
		if err != nil {
			return nil, badReference(err.Error())
		}
		s.path = repository.RepositoryStr()
		target, scope = repository, repository.Scope(actions)
	}
	auth, err := authn.Resolve(ctx, c.options.Keychain, target)
	if err != nil {
		return nil, because(Login, "the credentials for %s cannot be read: %w", r.Registry, err)
	}
	s.anonymous = auth == authn.Anonymous
	err = s.again(ctx, func() error {
		trip, err := transport.NewWithContext(ctx, registry, auth, &guard{c}, []string{scope})
		s.web = &http.Client{Transport: trip, CheckRedirect: s.mayRedirect}
		return err
	})
	return s, err
}

// hostname returns the host of HOST[:PORT].
func hostname(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

func (c *Client) mayBePlain(host string) bool { return c.options.Insecure || isLoopback(host) }

// mayBePlain reports whether the registry may speak http.
func (s *site) mayBePlain() bool { return s.client.mayBePlain(hostname(s.registry.RegistryStr())) }

// A guard makes all requests. It refuses plain http, and bounds answers that nobody else does.
type guard struct{ client *Client }

// maxPing bounds the answer to a ping, in bytes, of which nothing is needed.
const maxPing = 64 << 10

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(r.URL.Scheme == "http" && g.client.mayBePlain(r.URL.Hostname())) {
		return nil, errPlain
	}
	answer, err := g.client.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if r.URL.Path == pingPath {
		answer.Body = bounded{io.LimitReader(answer.Body, maxPing), answer.Body}
	}
	return answer, nil
}

// bounded is a body of which only the beginning can be read.
type bounded struct {
	io.Reader
	io.Closer
}

// mayRedirect refuses redirects that lead astray. Credentials do not follow: they are added to
// requests to the registry only.
func (s *site) mayRedirect(next *http.Request, before []*http.Request) error {
	last := before[len(before)-1].URL
	to := net.ParseIP(next.URL.Hostname())
	switch {
	case len(before) > maxRedirects:
		return errRedirects
	case last.Scheme == "https" && next.URL.Scheme != "https":
		return errDowngrade
	case isInner(to) && !isInner(net.ParseIP(hostname(s.registry.RegistryStr()))) && !isLoopback(hostname(s.registry.RegistryStr())):
		return errInner
	}
	return nil
}

// isInner reports whether an address is one that a registry on the internet has no business with.
func isInner(ip net.IP) bool {
	return ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsPrivate() || ip.IsUnspecified())
}

// url returns an address at the registry.
func (s *site) url(parts ...string) *url.URL {
	u := &url.URL{Scheme: s.registry.Scheme(), Host: s.registry.RegistryStr(), Path: pingPath}
	if s.path != "" {
		u.Path += s.path + "/"
	}
	u.Path += strings.Join(parts, "/")
	return u
}

// send sends a request. The caller closes the body of the answer, whose status is one of those
// expected.
func (s *site) send(r *http.Request, expected ...int) (*http.Response, error) {
	answer, err := s.web.Do(r)
	if err != nil {
		if cause := context.Cause(r.Context()); cause != nil {
			err = cause
		}
		return nil, s.explain(err)
	}
	for _, code := range expected {
		if answer.StatusCode == code {
			return answer, nil
		}
	}
	defer func() { _ = answer.Body.Close() }() // what is wrong was read
	return nil, s.refusal(answer)
}

// again does something until it succeeds, a few times, if what is wrong may pass.
func (s *site) again(ctx context.Context, do func() error) error {
	for attempt := 1; ; attempt++ {
		e := s.explain(do())
		if e == nil {
			return nil
		}
		if attempt == maxAttempts || !e.passes() || s.client.pause(ctx, e.delay(attempt)) != nil {
			return e
		}
	}
}

// passes reports whether the same may succeed later.
func (e *Error) passes() bool { return (e.Kind == Busy || e.Kind == Broken) && e.wait <= maxWait }

// delay returns how long to wait after so many attempts.
func (e *Error) delay(attempt int) time.Duration {
	return max(e.wait, 250*time.Millisecond<<min(attempt, 5))
}

// named gives an error its beginning.
func named(err error, what string, r Reference) error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Err: err}
	}
	return &Error{What: what + " " + r.String(), Kind: e.Kind, Err: e.Err}
}

// document gets a document of a size up to limit, and its media type. It has the digest, if one is
// given.
func (s *site) document(ctx context.Context, u *url.URL, digest string, limit int64, accept ...string) (data []byte, mediaType string, err error) {
	data, header, err := s.get(ctx, u, limit, accept...)
	if err != nil {
		return nil, "", err
	}
	if digest != "" && digestOf(data) != digest {
		return nil, "", because(Invalid, "a document has the digest %s, and should have %s", digestOf(data), digest)
	}
	return data, header.Get("Content-Type"), nil
}

// get gets what is at an address, up to limit.
func (s *site) get(ctx context.Context, u *url.URL, limit int64, accept ...string) (data []byte, header http.Header, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSlow)
	defer cancel()
	err = s.again(ctx, func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return err
		}
		if len(accept) > 0 {
			r.Header.Set("Accept", strings.Join(accept, ", "))
		}
		answer, err := s.send(r, http.StatusOK)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }() // it was read, or is of no use
		header = answer.Header
		data, err = io.ReadAll(io.LimitReader(answer.Body, limit+1))
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case int64(len(data)) > limit:
		return nil, nil, because(Invalid, "a document is larger than %d bytes", limit)
	}
	return data, header, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = fmt.Sprintf("%.80q", s)
	}
	return strings.Join(quoted, ", ")
}

package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
)

// A lie answers a request in place of a registry, if it wants to.
type lie func(w http.ResponseWriter, r *http.Request) (answered bool)

// A liar is a registry in memory, which tells a lie once it is set.
type liar struct {
	host    string
	honest  http.Handler
	tells   atomic.Pointer[lie]
	layer   string // digest of the layer of the first image of web
	pushed  Reference
	content []byte
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := l.tells.Load(); f != nil && (*f)(w, r) {
		return
	}
	l.honest.ServeHTTP(w, r)
}

func (l *liar) tell(f lie) { l.tells.Store(&f) }

// newLiar returns a registry that has the images of web.
func newLiar(t *testing.T) *liar {
	l := &liar{honest: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	l.host = strings.TrimPrefix(s.URL, "http://")
	pushed, err := newClient(t, Options{}).Push(t.Context(), reference(t, "oci://"+l.host+"/web"), web, nil)
	require.NoError(t, err)
	l.pushed = pushed
	packed, err := packed(web[0].Contents)
	require.NoError(t, err)
	l.layer, l.content = digestOf(packed), packed
	return l
}

// get gets the first image of web.
func (l *liar) get(t *testing.T, c *Client) ([]byte, error) {
	a, err := c.Resolve(t.Context(), l.pushed)
	if err != nil {
		return nil, err
	}
	return c.Fetch(t.Context(), a, a.Targets[0])
}

// aboutLayer is a lie about the layer only.
func (l *liar) aboutLayer(f func(w http.ResponseWriter, r *http.Request)) lie {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, l.layer) {
			return false
		}
		f(w, r)
		return true
	}
}

func fails(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// endless sends as much as is read.
func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return
		}
	}
}

func TestALayerThatIsRefused(t *testing.T) {
	l := newLiar(t)
	length := strconv.Itoa(len(l.content))
	for name, c := range map[string]struct {
		tells func(w http.ResponseWriter, r *http.Request)
		kind  Kind
		want  string
	}{
		"another one": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(randomBytes(len(l.content)))
		}, Invalid, "a part of it has the digest sha256:"},
		"a changed end": {func(w http.ResponseWriter, _ *http.Request) {
			changed := bytes.Clone(l.content)
			changed[len(changed)-1] ^= 1
			_, _ = w.Write(changed)
		}, Invalid, "a part of it has the digest sha256:"},
		"another name in it": {func(w http.ResponseWriter, _ *http.Request) {
			changed := bytes.Clone(l.content)
			changed[9] ^= 1 // which system has made it: it unpacks to the same
			_, _ = w.Write(changed)
		}, Invalid, "a part of it has the digest sha256:"},
		"longer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(l.content)+4))
			_, _ = w.Write(l.content)
			_, _ = w.Write([]byte("more"))
		}, Invalid, "the registry sends"},
		"longer without a length": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(l.content)
			_, _ = w.Write([]byte("more"))
		}, Invalid, "longer than the " + length + " bytes that were announced"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(l.content)
			endless(w, r)
		}, Invalid, "longer than the " + length + " bytes that were announced"},
		"shorter": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(l.content[:100]) }, Invalid, "the registry sends 100 bytes of a part that has " + length},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) { cut(w, l.content, 100) }, Broken, "at byte 100 of " + length + ": the connection was closed before all of it had come"},
		"other parts": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				cut(w, l.content, 100)
				return
			}
			w.Header().Set("Content-Range", "bytes 0-99/"+length)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(l.content[:100])
		}, Invalid, "other bytes than those that it was asked for"},
		"encoded": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(l.content)
		}, Invalid, "in an encoding that was not asked for"},
		"lost":   {fails(404, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`), NotFound, "the registry lacks a part of it"},
		"a loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, Invalid, "it redirects more than 5 times"},
		"a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, Invalid, "it leads to an address without https"},
	} {
		t.Run(name, func(t *testing.T) {
			l.tell(l.aboutLayer(c.tells))
			image, err := l.get(t, newClient(t, Options{}))
			require.ErrorContains(t, err, c.want)
			requireKind(t, err, c.kind)
			require.Nil(t, image)
		})
	}
}

// cut sends the beginning of a body, and breaks off.
func cut(w http.ResponseWriter, body []byte, at int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:at])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// TestARefusalIsToldAsWhatItIs: not everything is not found.
func TestARefusalIsToldAsWhatItIs(t *testing.T) {
	l := newLiar(t)
	for name, c := range map[string]struct {
		status int
		body   string
		kind   Kind
		want   string
	}{
		"no login":          {401, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, Login, "wants to know who asks: log in by 'docker login " + l.host + "'"},
		"denied":            {403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`, Denied, "the registry refuses it to whoever is not logged in: try 'docker login " + l.host + "' or 'podman login " + l.host + "' (it says: requested access"},
		"denied, as absent": {404, `{"errors":[{"code":"DENIED","message":"no"}]}`, Denied, "the registry refuses it"},
		"forbidden":         {403, "<html>", Denied, "the registry refuses it"},
		"no repository":     {404, `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`, NotFound, "the registry has no such repository"},
		"no tag":            {404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, NotFound, "the registry has no such repository, tag or digest"},
		"absent":            {404, "", NotFound, "no such repository, tag or digest"},
		"too many":          {429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}`, Busy, "too many requests: try again later, or log in, which may allow more (it says: You have reached"},
		"trouble":           {500, "", Busy, "the registry has trouble: it answers 500 Internal Server Error"},
		"down":              {503, `{"errors":[{"code":"UNAVAILABLE","message":"maintenance"}]}`, Busy, "503 Service Unavailable (it says: maintenance)"},
		"a teapot":          {418, `{"errors":[{"code":"\u001b[31m","message":"\u001b[31m"}]}`, Invalid, "the registry answers 418"},
		"a long story":      {400, `{"errors":[{"code":"X","message":"` + strings.Repeat("é", 10000) + `"}]}`, Invalid, "…)"},
		"no list":           {400, `{"errors":7}`, Invalid, "400 Bad Request"},
		"an endless story":  {400, strings.Repeat(" ", 1<<20), Broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			l.tell(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				asked.Add(1)
				fails(c.status, c.body)(w, r)
				return true
			})
			_, err := newClient(t, Options{}).Resolve(t.Context(), l.pushed)
			require.ErrorContains(t, err, c.want)
			requireKind(t, err, c.kind)
			require.Less(t, len(err.Error()), 2000)
			if c.kind == Busy {
				require.EqualValues(t, maxAttempts, asked.Load())
			} else if c.kind != Broken {
				require.EqualValues(t, 1, asked.Load(), "what does not pass is not tried again")
			}
		})
	}
}

// TestNoRegistry: what is a web server, but no registry.
func TestNoRegistry(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := newClient(t, Options{}).Resolve(t.Context(), reference(t, "oci://"+strings.TrimPrefix(s.URL, "http://")+"/web"))
	require.ErrorContains(t, err, "the host is no registry: it does not know /v2/")
}

func TestABusyRegistryIsWaitedFor(t *testing.T) {
	l := newLiar(t)
	for name, c := range map[string]struct {
		after string
		works bool
	}{"soon": {"7", true}, "later": {"3600", false}, "some time": {"", true}, "nonsense": {"-1", true}} {
		t.Run(name, func(t *testing.T) {
			var refused atomic.Int64
			l.tell(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == pingPath || refused.Add(1) > 2 {
					return false
				}
				w.Header().Set("Retry-After", c.after)
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			})
			client := newClient(t, Options{})
			var waited []time.Duration
			client.pause = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
			_, err := client.Resolve(t.Context(), l.pushed)
			if !c.works {
				requireKind(t, err, Busy)
				require.Empty(t, waited)
				return
			}
			require.NoError(t, err)
			require.Len(t, waited, 2)
			if c.after == "7" {
				require.Equal(t, 7*time.Second, waited[0])
			}
		})
	}
}

// TestADownloadThatBreaks goes on where it broke if the registry knows ranges, and comes to an end
// if it does not.
func TestADownloadThatBreaks(t *testing.T) {
	l := newLiar(t)
	ninety := len(l.content) * 9 / 10
	for name, c := range map[string]struct {
		ranges, always bool
		works          bool
		most           int // bytes that the registry sends
	}{
		"once, with ranges":      {ranges: true, works: true, most: len(l.content)},
		"once, without ranges":   {works: true, most: len(l.content) + ninety},
		"always, with ranges":    {ranges: true, always: true, works: true, most: len(l.content) + 100},
		"always, without ranges": {always: true, most: maxAttempts * ninety},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex // protects what follows: each request may come on another connection
			requests, sent := 0, 0
			l.tell(l.aboutLayer(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				requests++
				rest, begin := l.content, 0
				if c.ranges && r.Header.Get("Range") != "" {
					_, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &begin)
					require.NoError(t, err)
					rest = l.content[begin:]
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, len(l.content)-1, len(l.content)))
					w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
					w.WriteHeader(http.StatusPartialContent)
				}
				part := len(rest) * 9 / 10
				if requests > 1 && !c.always || len(rest) < 100 {
					part = len(rest)
				}
				sent += part
				if part == len(rest) {
					_, _ = w.Write(rest)
					return
				}
				cut(w, rest, part)
			}))
			image, err := l.get(t, newClient(t, Options{}))
			mu.Lock()
			defer mu.Unlock()
			require.LessOrEqual(t, sent, c.most)
			if !c.works {
				requireKind(t, err, Broken)
				require.Equal(t, maxAttempts, requests)
				return
			}
			require.NoError(t, err)
			require.Equal(t, web[0].Contents, image)
		})
	}
}

// TestASilentRegistry is left in the end.
func TestASilentRegistry(t *testing.T) {
	l := newLiar(t)
	over := make(chan struct{})
	defer close(over)
	silent := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}
	for name, tells := range map[string]lie{
		"at a ping":  func(w http.ResponseWriter, r *http.Request) bool { silent(w, r); return true },
		"at a layer": l.aboutLayer(silent),
		"in a layer": l.aboutLayer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(l.content)))
			_, _ = w.Write(l.content[:10])
			w.(http.Flusher).Flush()
			silent(w, r)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			l.tell(tells)
			_, err := l.get(t, newClient(t, Options{Patience: 50 * time.Millisecond}))
			requireKind(t, err, Broken)
		})
	}
}

// TestAnInterruptEnds whatever is done.
func TestAnInterruptEnds(t *testing.T) {
	l := newLiar(t)
	ctx, cancel := context.WithCancel(t.Context())
	l.tell(l.aboutLayer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.content)))
		_, _ = w.Write(l.content[:10])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}))
	c := newClient(t, Options{})
	a, err := c.Resolve(ctx, l.pushed)
	require.NoError(t, err)
	_, err = c.Fetch(ctx, a, a.Targets[0])
	require.ErrorIs(t, err, context.Canceled)
}

// somebody logs in as one user everywhere.
type somebody struct{}

func (somebody) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{Username: "me", Password: "secret"}), nil
}

// TestCredentialsDoNotFollow a redirect to another host.
func TestCredentialsDoNotFollow(t *testing.T) {
	l := newLiar(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values("Authorization"))+len(r.Header.Values("Cookie")) > 0 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = w.Write(l.content)
	}))
	defer elsewhere.Close()
	l.tell(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, ok := r.BasicAuth()
		switch {
		case !ok:
			w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		case user != "me" || password != "secret":
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return l.aboutLayer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/blob", http.StatusTemporaryRedirect)
		})(w, r)
	})
	image, err := l.get(t, newClient(t, Options{Keychain: somebody{}}))
	require.NoError(t, err)
	require.Equal(t, web[0].Contents, image)

	_, err = l.get(t, newClient(t, Options{}))
	requireKind(t, err, Login)
}

// TestTokens: a registry that wants tokens gets them, for what is asked, from where it says.
func TestTokens(t *testing.T) {
	l := newLiar(t)
	l.tell(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if user, _, _ := r.BasicAuth(); user != "me" || !strings.HasPrefix(r.URL.Query().Get("scope"), "repository:web:pull") {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			_, _ = io.WriteString(w, `{"token":"for web"}`)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer for web" {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="tests"`, l.host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := l.get(t, newClient(t, Options{Keychain: somebody{}}))
	require.NoError(t, err)
	_, err = l.get(t, newClient(t, Options{}))
	requireKind(t, err, Denied)
}

// TestRedirectsThatLeadAstray.
func TestRedirectsThatLeadAstray(t *testing.T) {
	outside, err := name.NewRegistry("registry.example.org")
	require.NoError(t, err)
	s := &site{client: newClient(t, Options{}), registry: outside}
	for address, want := range map[string]error{
		"https://storage.example.org/x":      nil,
		"https://203.0.113.7/x":              nil,
		"http://storage.example.org/x":       errDowngrade,
		"https://127.0.0.1/x":                errInner,
		"https://169.254.169.254/meta":       errInner,
		"https://10.0.0.1:8443/x":            errInner,
		"https://[fe80::1]/x":                errInner,
		"https://[::ffff:169.254.169.254]/x": errInner,
	} {
		to, err := url.Parse(address)
		require.NoError(t, err)
		from := &http.Request{URL: &url.URL{Scheme: "https", Host: "registry.example.org"}}
		require.Equal(t, want, s.mayRedirect(&http.Request{URL: to}, []*http.Request{from}), address)
	}
}

// sniffing is a listener of whose connections those that begin with TLS are never answered.
type sniffing struct{ net.Listener }

type sniffed struct {
	net.Conn
	first bool
}

func (s *sniffing) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	return &sniffed{c, true}, err
}

// Read waits for ever, or until the client has left, instead of a handshake.
func (s *sniffed) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.first && n > 0 && p[0] == 22 {
		_, _ = io.Copy(io.Discard, s.Conn)
		return 0, io.EOF
	}
	s.first = false
	return n, err
}

// TestHTTPAndHTTPS: which is spoken is decided at once, and http only where that was said. The
// registry seems to be on another machine.
func TestHTTPAndHTTPS(t *testing.T) {
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	plain := httptest.NewServer(handler)
	defer plain.Close()
	encrypted := httptest.NewTLSServer(handler)
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer encrypted.Close()
	hangs := httptest.NewUnstartedServer(handler)
	hangs.Listener = &sniffing{hangs.Listener}
	hangs.Start()
	defer hangs.Close()
	for name, c := range map[string]struct {
		server   *httptest.Server
		insecure bool
		kind     Kind
		want     string
	}{
		"http":                              {plain, false, Plain, "the registry speaks http, which everybody on the way can read and change (--insecure allows it)"},
		"http, insecure":                    {plain, true, NotFound, "no such"},
		"unknown certificate":               {encrypted, false, Certificate, "this machine does not trust the registry's certificate: "},
		"unknown certificate, insecure":     {encrypted, true, NotFound, "no such"},
		"silent about https, but insecure":  {hangs, true, NotFound, "no such"},
		"silent about https, so not at all": {hangs, false, Broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			patience := time.Hour // nothing waits for it
			if c.kind == Broken {
				patience = 50 * time.Millisecond
			}
			for _, host := range []string{"registry.example.org", "10.1.2.3:5000"} {
				client := newClient(t, Options{Insecure: c.insecure, Patience: patience})
				client.base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, network, c.server.Listener.Addr().String())
				}
				client.base.TLSHandshakeTimeout = patience
				_, err := client.Resolve(t.Context(), reference(t, "oci://"+host+"/web"))
				require.ErrorContains(t, err, c.want, host)
				requireKind(t, err, c.kind)
				client.Close()
			}
		})
	}
}

// TestOldTLSIsRefused, also where any certificate is accepted.
func TestOldTLSIsRefused(t *testing.T) {
	c := newClient(t, Options{Insecure: true})
	require.EqualValues(t, tls.VersionTLS12, c.base.TLSClientConfig.MinVersion)
}

// put writes an image of documents of our choice, and returns its reference.
func put(t *testing.T, host string, config, layer []byte, change func(*v1.Manifest)) Reference {
	r := reference(t, "oci://"+host+"/made/up")
	s, err := newClient(t, Options{}).open(t.Context(), r, push)
	require.NoError(t, err)
	for _, blob := range [][]byte{config, layer} {
		require.NoError(t, s.pushBlob(t.Context(), digestOf(blob), blob))
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: descriptor(config, configType), Layers: []v1.Descriptor{descriptor(layer, layerTypeGzip)}}
	if change != nil {
		change(&m)
	}
	d, err := s.pushManifest(t.Context(), "latest", types.OCIManifestSchema1, m)
	require.NoError(t, err)
	return r.At(d.Digest.String())
}

// configured returns the configuration of an image.
func configured(t *testing.T, image []byte, change func(*config)) []byte {
	c := config{Target: "spt", Architecture: "amd64", Image: imageConfig{strings.TrimPrefix(digestOf(image), "sha256:"), int64(len(image))}}
	if change != nil {
		change(&c)
	}
	data, err := json.Marshal(c)
	require.NoError(t, err)
	return data
}

// TestAnImageThatLies about itself is refused, even if all its digests are right.
func TestAnImageThatLies(t *testing.T) {
	host := inMemory(t)
	image := randomBytes(10000)
	layer, err := packed(image)
	require.NoError(t, err)
	bomb, err := packed(make([]byte, 50<<20))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		config []byte
		layer  []byte
		change func(*v1.Manifest)
		want   string
	}{
		"unpacks to more":    {configured(t, image[:100], nil), layer, nil, "its image unpacks to more than the 100 bytes that were announced"},
		"a bomb":             {configured(t, image, nil), bomb, nil, "its image unpacks to more than the 10000 bytes that were announced"},
		"unpacks to less":    {configured(t, image, func(c *config) { c.Image.Size++ }), layer, nil, "its image has 10000 bytes"},
		"another image":      {configured(t, randomBytes(9999), func(c *config) { c.Image.Size = 10000 }), layer, nil, "and should have 10000 with"},
		"no archive":         {configured(t, image, nil), image, nil, "a layer of it cannot be unpacked"},
		"cut off":            {configured(t, image, nil), layer[:len(layer)-9], nil, "a layer of it cannot be unpacked"},
		"too large":          {configured(t, image, func(c *config) { c.Image.Size = 1 << 40 }), layer, nil, "at most 1048576 are possible"},
		"of negative size":   {configured(t, image, func(c *config) { c.Image.Size = -1 }), layer, nil, "its image has no size"},
		"with odd memory":    {configured(t, image, func(c *config) { c.Memory = -5 }), layer, nil, "it is to have -5 MB of memory"},
		"with odd arguments": {configured(t, image, func(c *config) { c.Arguments = []string{"a\x00b"} }), layer, nil, "argument 1 is no text"},
		"with odd devices":   {configured(t, image, func(c *config) { c.Devices = []Device{{"\x1b[31m", "net"}} }), layer, nil, "a device of it has no name"},
		"with no digest":     {configured(t, image, func(c *config) { c.Image.SHA256 = "../../etc" }), layer, nil, "the SHA-256 of its image is none"},
		"with an odd target": {configured(t, image, func(c *config) { c.Target = "\x1b" }), layer, nil, "its target or architecture is no word"},
		"no configuration":   {[]byte("{"), layer, nil, "its configuration is no JSON that we understand"},
		"two layers":         {configured(t, image, nil), layer, func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, "its manifest does not consist of one image"},
		"a large layer":      {configured(t, image, nil), layer, func(m *v1.Manifest) { m.Layers[0].Size = 1 << 50 }, "a part of it has 1125899906842624 bytes"},
		"a negative layer":   {configured(t, image, nil), layer, func(m *v1.Manifest) { m.Layers[0].Size = -1 }, "a part of it has -1 bytes"},
		"a large config":     {configured(t, image, nil), layer, func(m *v1.Manifest) { m.Config.Size = maxConfig + 1 }, "a part of it has 262145 bytes"},
		"a short layer":      {configured(t, image, nil), layer, func(m *v1.Manifest) { m.Layers[0].Size-- }, "the registry sends"},
	} {
		t.Run(name, func(t *testing.T) {
			r := put(t, host, c.config, c.layer, c.change)
			client := newClient(t, Options{MaxImage: 1 << 20})
			a, err := client.Resolve(t.Context(), r)
			var got []byte
			if err == nil {
				got, err = client.Fetch(t.Context(), a, a.Targets[0])
			}
			require.ErrorContains(t, err, c.want)
			requireKind(t, err, Invalid)
			require.Nil(t, got)
		})
	}
}

// TestADocumentThatIsRefused.
func TestADocumentThatIsRefused(t *testing.T) {
	l := newLiar(t)
	many, err := json.Marshal(v1.IndexManifest{Manifests: make([]v1.Descriptor, 100)})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		tells func(http.ResponseWriter, *http.Request)
		want  string
	}{
		"another one": {fails(200, `{"schemaVersion":2}`), "a document has the digest sha256:"},
		"endless":     {endless, "a document is larger than 4194304 bytes"},
		"many":        {fails(200, string(many)), "a document has the digest"},
	} {
		t.Run(name, func(t *testing.T) {
			l.tell(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/manifests/") {
					c.tells(w, r)
					return true
				}
				return false
			})
			_, err := newClient(t, Options{}).Resolve(t.Context(), l.pushed)
			require.ErrorContains(t, err, c.want)
			requireKind(t, err, Invalid)
		})
	}
}

// TestAListThatIsRefused.
func TestAListThatIsRefused(t *testing.T) {
	l := newLiar(t)
	list := func(link, body string) lie {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/tags/list") {
				return false
			}
			if link != "" {
				w.Header().Set("Link", link)
			}
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for name, c := range map[string]struct {
		tells lie
		want  string
	}{
		"without end":     {list(`</v2/web/tags/list?last=x>; rel="next"`, `{"tags":["x"]}`), "more than 100 pages"},
		"at another host": {list(`<http://127.0.0.1:1/v2/web/tags/list>; rel="next"`, `{"tags":["x"]}`), "goes on at another host"},
		"no list":         {list("", `{"tags":"x"}`), "its list is no JSON that we understand"},
		"an endless one": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/tags/list") {
				endless(w, r)
				return true
			}
			return false
		}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			l.tell(c.tells)
			_, err := newClient(t, Options{}).List(t.Context(), l.pushed)
			require.ErrorContains(t, err, c.want)
		})
	}
	l.tell(list("", `{"tags":["a\u001b[31m","b"]}`))
	tags, err := newClient(t, Options{}).List(t.Context(), l.pushed)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, tags, "what cannot be shown is left out")
}

package registry

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// errCut ends the way of a body to the registry.
var errCut = errors.New("cut off")

// breaking is a body that ends with an error after some bytes.
type breaking struct {
	io.ReadCloser
	left int64
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errCut
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// A road leads to a registry, and breaks: of a blob that is sent, so many bytes at most arrive in one
// connection.
type road struct {
	proxy  *httputil.ReverseProxy
	most   int64
	times  atomic.Int64 // how often it breaks
	passed atomic.Int64 // bytes that have come to the registry
}

func newRoad(t *testing.T, host string, most, times int64) (*road, string) {
	transport := &http.Transport{}
	r := &road{most: most, proxy: &httputil.ReverseProxy{
		Transport:    transport,
		ErrorLog:     log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", host
			p.Out.Host = p.In.Host // so that it answers with addresses on this road
		},
	}}
	r.times.Store(times)
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(func() { s.Close(); transport.CloseIdleConnections() })
	return r, strings.TrimPrefix(s.URL, "http://")
}

func (r *road) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodPatch {
		length := request.ContentLength
		r.passed.Add(min(length, r.most))
		if length > r.most && r.times.Add(-1) >= 0 {
			request.Body = &breaking{request.Body, r.most}
		}
	}
	r.proxy.ServeHTTP(w, request)
}

const always = 1 << 30

// TestAnUploadThatBreaks succeeds if the registry can take it in parts, and comes to an end in any case.
func TestAnUploadThatBreaks(t *testing.T) {
	inMemoryOrReal(t, func(t *testing.T, host string) {
		for name, c := range map[string]struct {
			most  int64
			times int64
			works bool
		}{
			"once at 90 %":       {900 << 10, 1, true},
			"always at 90 %":     {900 << 10, always, true},
			"always at 1 %":      {10 << 10, always, false},
			"not at all":         {1 << 30, 0, true},
			"three times at 0 %": {0, 3, true},
		} {
			t.Run(name, func(t *testing.T) {
				_, by := newRoad(t, host, c.most, c.times)
				image := Image{Target: "spt", Architecture: "amd64", Contents: randomBytes(1<<20 + len(name))} // that nobody has pushed before
				client := newClient(t, Options{})
				client.chunk = 100 << 10
				r := reference(t, "oci://"+by+"/"+strconv.Itoa(int(c.most))+"-"+strconv.Itoa(int(c.times)))
				pushed, err := client.Push(t.Context(), r, []Image{image}, nil)
				if !c.works {
					requireKind(t, err, Broken)
					return
				}
				require.NoError(t, err)
				a, err := client.Resolve(t.Context(), pushed)
				require.NoError(t, err)
				got, err := client.Fetch(t.Context(), a, a.Targets[0])
				require.NoError(t, err)
				require.True(t, bytes.Equal(image.Contents, got))
			})
		}
	})
}

// TestWhatIsThereIsNotSent again.
func TestWhatIsThereIsNotSent(t *testing.T) {
	inMemoryOrReal(t, func(t *testing.T, host string) {
		way, by := newRoad(t, host, 1<<30, 0)
		client := newClient(t, Options{})
		for _, tag := range []string{"1", "2"} {
			_, err := client.Push(t.Context(), reference(t, "oci://"+by+"/web:"+tag), web, nil)
			require.NoError(t, err)
		}
		require.Less(t, way.passed.Load(), int64(len(web[0].Contents)+len(web[1].Contents))*3/2)
	})
}

// TestWhatCannotBePushed.
func TestWhatCannotBePushed(t *testing.T) {
	host := inMemory(t)
	client := newClient(t, Options{MaxImage: 1000})
	for name, c := range map[string]struct {
		reference string
		image     Image
		want      string
	}{
		"to a digest": {"oci://" + host + "/web@sha256:" + strings.Repeat("0", 64), Image{Target: "spt", Architecture: "amd64", Contents: []byte("x")}, "a digest cannot be chosen"},
		"too large":   {"oci://" + host + "/web", Image{Target: "spt", Architecture: "amd64", Contents: make([]byte, 1001)}, "at most 1000 are possible"},
		"empty":       {"oci://" + host + "/web", Image{Target: "spt", Architecture: "amd64"}, "its image has no size"},
		"no target":   {"oci://" + host + "/web", Image{Contents: []byte("x")}, "its target or architecture is no word"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Push(t.Context(), reference(t, c.reference), []Image{c.image}, nil)
			require.ErrorContains(t, err, c.want)
			requireKind(t, err, Unusable)
		})
	}
}

// TestARegistryThatTakesNothing: whatever it answers, a push comes to an end.
func TestARegistryThatTakesNothing(t *testing.T) {
	l := newLiar(t)
	for name, tells := range map[string]func(http.ResponseWriter, *http.Request){
		"no place":  fails(http.StatusAccepted, ""),
		"no room":   fails(http.StatusInsufficientStorage, ""),
		"read-only": fails(http.StatusMethodNotAllowed, `{"errors":[{"code":"UNSUPPORTED","message":"read-only"}]}`),
		"an odd place": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusAccepted)
		},
		"itself": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.String())
			w.WriteHeader(http.StatusAccepted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l.tell(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost || r.Method == http.MethodPatch || r.Method == http.MethodPut {
					tells(w, r)
					return true
				}
				return false
			})
			client := newClient(t, Options{Patience: time.Minute})
			_, err := client.Push(t.Context(), reference(t, "oci://"+l.host+"/other"), web, nil)
			var e *Error
			require.ErrorAs(t, err, &e)
		})
	}
}

// TestAnUploadGoesOnWhereItBroke, if the registry keeps what it has got.
func TestAnUploadGoesOnWhereItBroke(t *testing.T) {
	l := newLiar(t)
	image := Image{Target: "spt", Architecture: "amd64", Contents: randomBytes(1 << 20)}
	var mu sync.Mutex // protects what follows: each request may come on another connection
	var got []byte
	sent, breaks := 0, 3
	l.tell(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Method == http.MethodHead || r.ContentLength > 0 && r.ContentLength < 1000 {
			return false
		}
		w.Header().Set("Location", r.URL.Path)
		w.Header().Set("Range", "0-"+strconv.Itoa(max(0, len(got)-1)))
		switch r.Method {
		case http.MethodGet:
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPatch:
			limit := r.ContentLength
			if breaks > 0 {
				limit = limit * 9 / 10
			}
			part, err := io.ReadAll(io.LimitReader(r.Body, limit))
			require.NoError(t, err)
			got, sent = append(got, part...), sent+len(part)
			if breaks > 0 {
				breaks--
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusAccepted)
		default:
			return false
		}
		return true
	})
	client := newClient(t, Options{})
	// The registry behind the lie has got nothing, and says so in the end.
	_, err := client.Push(t.Context(), reference(t, "oci://"+l.host+"/resumed"), []Image{image}, nil)
	packed, packErr := packed(image.Contents)
	require.NoError(t, packErr)
	mu.Lock()
	defer mu.Unlock()
	require.True(t, bytes.Equal(packed, got), "%d of %d bytes (%v)", len(got), len(packed), err)
	require.Equal(t, len(packed), sent, "no byte was sent twice")
}

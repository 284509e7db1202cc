package builds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// image is what the newest build of the tests has made.
var image = bytes.Repeat([]byte("unikernel "), 1000)

// An answer is what the server does at a path.
type answer = http.HandlerFunc

func redirect(to string) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func status(code int) answer {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

// contents sends an image with a header.
func contents(b []byte, header ...string) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = w.Write(b)
	}
}

// serve starts a server with answers at paths, and returns our side of it.
func serve(t *testing.T, answers map[string]answer) *Server {
	web := httptest.NewServer(handler(answers))
	t.Cleanup(web.Close)
	return at(t, web.URL)
}

func handler(answers map[string]answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, ok := answers[r.URL.RequestURI()]; ok {
			f(w, r)
			return
		}
		http.NotFound(w, r)
	})
}

func at(t *testing.T, address string) *Server {
	base, err := ParseBase(address)
	require.NoError(t, err)
	s := At(base, DefaultPatience)
	t.Cleanup(s.Close)
	return s
}

var digest = []byte{0xab, 0xcd}

const (
	hashPath   = "/hash?sha256=abcd"
	latestPath = "/job/web/build/latest/"
	binaryPath = "/job/web/build/u2/main-binary"
)

var second = Build{"web", "u2"}

func TestABuilderWeb(t *testing.T) {
	s := serve(t, map[string]answer{
		hashPath:   redirect("/job/web/build/u1/"),
		latestPath: redirect("/job/web/build/u2/"),
		binaryPath: redirect("/job/web/build/u2/f/bin/web.hvt"),
		"/job/web/build/u2/f/bin/web.hvt": contents(image,
			"ETag", base64.StdEncoding.EncodeToString(sum(image)), "Content-Length", strconv.Itoa(len(image))),
	})
	b, err := s.Of(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, Build{"web", "u1"}, b)
	latest, err := s.Latest(t.Context(), b.Job)
	require.NoError(t, err)
	require.Equal(t, second, latest)
	require.Equal(t, s.base.String()+"/compare/u1/u2/", s.Comparison(b, latest))

	var size int64
	got, err := s.Fetch(t.Context(), latest, MaxImage, func(n int64, r io.Reader) io.Reader { size = n; return r })
	require.NoError(t, err)
	require.Equal(t, image, got)
	require.EqualValues(t, len(image), size)
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// TestAServerBelowAPath: names with strange characters, and a server that is not at the root.
func TestAServerBelowAPath(t *testing.T) {
	s := serve(t, map[string]answer{
		"/builds/hash?sha256=abcd":                   redirect("/builds/job/a%2Fb%20c/build/u1"),
		"/builds/job/a%2Fb%20c/build/latest/":        redirect("/builds/job/a%2Fb%20c/build/u1"),
		"/builds/job/a%2Fb%20c/build/u1/main-binary": contents(image),
	})
	s.base = s.base.JoinPath("builds")
	b, err := s.Of(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, Build{"a/b c", "u1"}, b)
	_, err = s.Latest(t.Context(), b.Job)
	require.NoError(t, err)
	got, err := s.Fetch(t.Context(), b, MaxImage, nil)
	require.NoError(t, err)
	require.Equal(t, image, got)
}

func TestABuildThatIsNotFound(t *testing.T) {
	for name, c := range map[string]struct {
		at   answer
		want string
	}{
		"unknown":        {status(http.StatusNotFound), "the server does not have it (404)"},
		"out of order":   {status(http.StatusInternalServerError), "the server answers 500 Internal Server Error"},
		"no target":      {status(http.StatusFound), "the server answers 302 Found"},
		"elsewhere":      {redirect("/job/web/"), "the server does not have it (404)"},
		"a page":         {contents([]byte("<html>")), "it leads to no build, but to http"},
		"a loop":         {redirect(hashPath), "it redirects more than 5 times"},
		"another scheme": {redirect("file:///job/web/build/u1/"), "it redirects to what is neither http nor https"},
		"latest":         {redirect("/job/web/build/latest/"), "the server does not have it (404)"},
		"a bad target":   {redirect("http://[/job/web/build/u1/"), "failed to parse Location header"},
		"a long header":  {redirect("/job/web/build/" + string(bytes.Repeat([]byte("x"), 2*maxHeader))), "exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, map[string]answer{hashPath: c.at})
			_, err := s.Of(t.Context(), digest)
			require.ErrorContains(t, err, c.want)
			var ours *Error
			require.ErrorAs(t, err, &ours)
			require.Equal(t, s.base.String()+hashPath, ours.URL)
		})
	}
}

func TestALatestBuildOfAnotherJob(t *testing.T) {
	s := serve(t, map[string]answer{latestPath: redirect("/job/other/build/u2/")})
	_, err := s.Latest(t.Context(), "web")
	require.ErrorContains(t, err, "it leads to another job, other")
}

// TestRedirectsToAndFromHTTPS: a server may lead from http to https, and not back.
func TestRedirectsToAndFromHTTPS(t *testing.T) {
	plain := httptest.NewServer(handler(map[string]answer{"/hash": redirect("/job/web/build/u1/")}))
	defer plain.Close()
	web := httptest.NewTLSServer(handler(map[string]answer{
		hashPath: redirect(plain.URL + "/job/web/build/u1/"),
		"/up":    redirect("/job/web/build/u1/"),
	}))
	defer web.Close()
	trusting := func(address string) *Server {
		s := at(t, address)
		s.client.Transport = web.Client().Transport
		return s
	}
	_, err := trusting(web.URL).Of(t.Context(), digest)
	require.ErrorContains(t, err, "it redirects from https to http")

	up := httptest.NewServer(handler(map[string]answer{hashPath: redirect(web.URL + "/up")}))
	defer up.Close()
	b, err := trusting(up.URL).Of(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, "u1", b.ID)

	_, err = at(t, web.URL).Of(t.Context(), digest)
	require.ErrorContains(t, err, "certificate", "nobody has signed for the server")
}

func TestAnImageThatIsRefused(t *testing.T) {
	wrong := sum([]byte("something else"))
	for name, c := range map[string]struct {
		at   answer
		want string
	}{
		"none":              {status(http.StatusNotFound), "the server does not have it (404)"},
		"a page":            {redirect("/job/web/build/u2/"), "it leads to a page"},
		"another ETag":      {contents(image, "ETag", base64.StdEncoding.EncodeToString(wrong)), "and the server announces " + hex.EncodeToString(wrong)},
		"another hash":      {contents(image, "ETag", `"`+hex.EncodeToString(wrong)+`"`), "and the server announces"},
		"another digest":    {contents(image, "Repr-Digest", "sha-512=:AA==:, sha-256=:"+base64.StdEncoding.EncodeToString(wrong)+":"), "and the server announces"},
		"an old digest":     {contents(image, "Digest", "SHA-256="+base64.StdEncoding.EncodeToString(wrong)), "and the server announces"},
		"encoded":           {contents(image, "Content-Encoding", "gzip"), "in an encoding that was not asked for"},
		"announced too big": {contents(image, "Content-Length", "999999999999"), "it is larger than 20000 bytes"},
		"too big":           {endless, "it is larger than 20000 bytes"},
		"cut off":           {contents(image[:100], "Content-Length", "10000"), "the connection was closed before all of it had come"},
		"cut short":         {contents(image[:100], "Content-Length", "100", "ETag", hex.EncodeToString(sum(image))), "and the server announces"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, map[string]answer{binaryPath: c.at})
			got, err := s.Fetch(t.Context(), second, 20000, nil)
			require.ErrorContains(t, err, c.want)
			require.Nil(t, got)
		})
	}
}

// endless sends an image without an end, and without a length.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(image); err != nil {
			return
		}
	}
}

// TestAnImageThatAnnouncesItself: all kinds of announcements of the right hash, and what is none.
func TestAnImageThatAnnouncesItself(t *testing.T) {
	in64 := base64.StdEncoding.EncodeToString(sum(image))
	for field, value := range map[string]string{
		"ETag":           in64,
		"Repr-Digest":    "sha-256=:" + in64 + ":",
		"Content-Digest": "sha-512=:AAAA:, sha-256=:" + in64 + ":",
		"Digest":         "sha-256=" + in64,
		"Etag":           `W/"` + hex.EncodeToString(sum(nil)) + `"`, // of another encoding, perhaps
		"X-Other":        hex.EncodeToString(sum(nil)),
	} {
		s := serve(t, map[string]answer{binaryPath: contents(image, field, value)})
		got, err := s.Fetch(t.Context(), second, MaxImage, nil)
		require.NoError(t, err, field)
		require.Equal(t, image, got)
	}
	require.Len(t, announced(http.Header{"Etag": {in64}, "Repr-Digest": {"sha-256=:" + in64 + ":"}}), 2)
}

// TestASilentServer: it is left after a while, wherever it becomes silent.
func TestASilentServer(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	halfway := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(image[:10])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	s := serve(t, map[string]answer{hashPath: silent, binaryPath: halfway, "/job/web/build/u3/main-binary": silent})
	s.patience = 20 * time.Millisecond
	_, err := s.Of(t.Context(), digest)
	require.ErrorIs(t, err, errSilent)
	_, err = s.Fetch(t.Context(), second, MaxImage, nil)
	require.ErrorIs(t, err, errSilent)
	_, err = s.Fetch(t.Context(), Build{"web", "u3"}, MaxImage, nil)
	require.ErrorIs(t, err, errSilent)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.patience = time.Hour
	_, err = s.Fetch(ctx, second, MaxImage, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNobodyIsThere(t *testing.T) {
	web := httptest.NewServer(nil)
	web.Close()
	_, err := at(t, web.URL).Of(t.Context(), digest)
	require.ErrorContains(t, err, fmt.Sprintf("cannot get %s%s: ", web.URL, hashPath))
	require.ErrorContains(t, err, "connection refused")
}

func TestParseBase(t *testing.T) {
	for _, bad := range []string{"", "builds.example.org", "ftp://x", "http://", "http://x?y", "http://x#y", "http://%"} {
		_, err := ParseBase(bad)
		require.Error(t, err, bad)
	}
	u, err := ParseBase("https://builds.example.org/at/")
	require.NoError(t, err)
	require.Equal(t, &url.URL{Scheme: "https", Host: "builds.example.org", Path: "/at/"}, u)
}

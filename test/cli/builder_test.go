package cli

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// builder starts a server that behaves like builder-web, with what its file says:
//
//	build JOB ID FILE   a build whose main binary is FILE; the last one of a job is the newest
//	announce FILE       announces the hash of this file for all binaries
//	status PATH N       answers a path with a status
//	short PATH          closes the connection in the middle of an image
//	silent PATH         waits for the client to leave
//	hang PATH           begins to send an image, and waits for the client to leave
func builder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: builder FILE")
	}
	b := &builderWeb{instead: map[string]http.HandlerFunc{}}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		ts.Check(b.add(ts, strings.Fields(line)))
	}
	web := httptest.NewServer(b)
	ts.Setenv("BUILDER", web.URL)
	ts.Defer(web.Close)
}

// A builderWeb keeps builds.
type builderWeb struct {
	builds    []build
	announced string                      // for all binaries; "": the contents of each
	instead   map[string]http.HandlerFunc // what happens at a path instead
}

type build struct{ job, id, binary string }

func (b *builderWeb) add(ts *testscript.TestScript, words []string) error {
	switch {
	case len(words) == 4 && words[0] == "build":
		b.builds = append(b.builds, build{words[1], words[2], ts.ReadFile(words[3])})
	case len(words) == 2 && words[0] == "announce":
		b.announced = ts.ReadFile(words[1])
	case len(words) == 3 && words[0] == "status":
		code, err := strconv.Atoi(words[2])
		b.instead[words[1]] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
		return err
	case len(words) == 2 && words[0] == "short":
		b.instead[words[1]] = short
	case len(words) == 2 && words[0] == "silent":
		b.instead[words[1]] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	case len(words) == 2 && words[0] == "hang":
		b.instead[words[1]] = hang
	default:
		return fmt.Errorf("a builder-web does not %q", words)
	}
	return nil
}

// short sends less than it announces.
func short(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte("ELF"))
}

func hang(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte("ELF"))
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (b *builderWeb) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f, ok := b.instead[r.URL.Path]; ok {
		f(w, r)
		return
	}
	if r.URL.Path == "/hash" {
		redirectTo(w, b.of(func(o build) bool { return hashOf(o.binary) == r.URL.Query().Get("sha256") }))
		return
	}
	word := strings.Split(r.URL.Path, "/") // "", job, JOB, build, ID, ...
	if len(word) < 6 || word[1] != "job" || word[3] != "build" {
		http.NotFound(w, r)
		return
	}
	if word[4] == "latest" {
		ofJob := b.of(func(o build) bool { return o.job == word[2] })
		redirectTo(w, ofJob[max(0, len(ofJob)-1):])
		return
	}
	one := b.of(func(o build) bool { return o.job == word[2] && o.id == word[4] })
	if len(one) == 0 {
		http.NotFound(w, r)
		return
	}
	b.answer(w, r, one[0], path.Join(word[5:]...))
}

// redirectTo leads to a build, if there is one.
func redirectTo(w http.ResponseWriter, found []build) {
	if len(found) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Location", "/job/"+found[0].job+"/build/"+found[0].id+"/")
	w.WriteHeader(http.StatusSeeOther)
}

// of returns the builds that fit, in their order.
func (b *builderWeb) of(fits func(build) bool) (list []build) {
	for _, o := range b.builds {
		if fits(o) {
			list = append(list, o)
		}
	}
	return list
}

func (b *builderWeb) answer(w http.ResponseWriter, r *http.Request, o build, what string) {
	switch what {
	case "main-binary":
		w.Header().Set("Location", "/job/"+o.job+"/build/"+o.id+"/f/bin/main")
		w.WriteHeader(http.StatusSeeOther)
	case "f/bin/main":
		announced := o.binary
		if b.announced != "" {
			announced = b.announced
		}
		sum := sha256.Sum256([]byte(announced))
		w.Header().Set("ETag", base64.StdEncoding.EncodeToString(sum[:]))
		_, _ = w.Write([]byte(o.binary))
	default:
		http.NotFound(w, r)
	}
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

package cli

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"albatross/test/registries"
)

// registryCommand starts a registry, and puts its host into an environment variable. If a user is
// given, nobody else may use it.
//
// It is Debian's docker-registry if that is installed, and else that of a library, which knows no
// users.
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: registry VARIABLE [USER PASSWORD]")
	}
	var o registries.Options
	if len(args) == 3 {
		o.User, o.Password = args[1], args[2]
	}
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "registry")
	ts.Check(err)
	real, err := registries.Start(dir, o)
	switch {
	case errors.Is(err, registries.ErrMissing) && o.User == "":
		s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		ts.Defer(s.Close)
		ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
		return
	case err != nil:
		ts.Fatalf("%v", err)
	}
	ts.Defer(real.Stop)
	ts.Setenv(args[0], real.Host)
}

// hasRegistry reports whether there is a real registry.
func hasRegistry() bool {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "docker-registry")); err == nil {
			return true
		}
	}
	return false
}

// containerCommand writes a container image to a registry, with a unikernel in it as urunc wants it.
func containerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: container REFERENCE HYPERVISOR FILE COMMAND")
	}
	to, err := name.ParseReference(args[0])
	ts.Check(err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	data := ts.ReadFile(args[2])
	ts.Check(w.WriteHeader(&tar.Header{Name: "unikernel/app", Size: int64(len(data)), Mode: 0o755}))
	_, err = io.WriteString(w, data)
	ts.Check(errors.Join(err, w.Close()))
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	ts.Check(err)
	image, err := mutate.AppendLayers(empty.Image, layer)
	ts.Check(err)
	notes := map[string]string{}
	for key, value := range map[string]string{"binary": "/unikernel/app", "hypervisor": args[1], "cmdline": args[3], "unikernelType": "mirage"} {
		notes["com.urunc.unikernel."+key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	ts.Check(remote.Write(to, mutate.Annotations(image, notes).(v1.Image)))
}

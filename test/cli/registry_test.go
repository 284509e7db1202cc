package cli

import (
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
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

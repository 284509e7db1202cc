package rules

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ofRegistries is the library for registries, with what it uses.
var ofRegistries = []string{"github.com/google/go-containerregistry/", "github.com/docker/"}

// askRegistries are the packages that may import it, or each other. Nobody else may import these,
// except tests.
var askRegistries = []string{"sockets/registry", "cmd/albatross-client", "cmd/albatross-kubelet"}

// TestOnlyClientsAskRegistries: the daemon, the tenders and the endpoint connect to none, and have
// nothing that could.
func TestOnlyClientsAskRegistries(t *testing.T) {
	found := 0
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			inner, ours := strings.CutPrefix(imported, module)
			asks := slices.ContainsFunc(ofRegistries, func(library string) bool { return strings.HasPrefix(imported, library) }) ||
				ours && slices.Contains(askRegistries, inner)
			if asks {
				found++
				require.Contains(t, askRegistries, path.Dir(s.path), "%s imports %s", s.path, imported)
			}
		}
	}
	require.NotZero(t, found)
}

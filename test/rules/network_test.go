package rules

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ofGuests are the libraries that parse what guests send. No process with privileges has them.
var ofGuests = []string{
	"gvisor.dev/gvisor/", "github.com/containers/gvisor-tap-vsock/", "github.com/miekg/dns", "github.com/insomniacslk/dhcp/",
}

// serveGuests are the packages that may import them, or each other. Nobody else may import
// these, except tests.
var serveGuests = []string{
	"runtime/network/lease", "runtime/network/resolve", "runtime/network/usernet", "cmd/albatross-network", "test/station",
}

// TestTheDaemonParsesNothingOfGuests: only the process of a network does.
func TestTheDaemonParsesNothingOfGuests(t *testing.T) {
	requireImportedOnlyBy(t, serveGuests, ofGuests)
}

// requireImportedOnlyBy checks that only some packages import some libraries, or each other.
func requireImportedOnlyBy(t *testing.T, packages, libraries []string) {
	t.Helper()
	found := 0
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			inner, ours := strings.CutPrefix(imported, module)
			if ours && slices.Contains(packages, inner) ||
				slices.ContainsFunc(libraries, func(library string) bool { return strings.HasPrefix(imported, library) }) {
				found++
				require.Contains(t, packages, path.Dir(s.path), "%s imports %s", s.path, imported)
			}
		}
	}
	require.NotZero(t, found)
}

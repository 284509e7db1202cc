package guests_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
)

// recorded returns bin/SUMS split into the compiler and the rest.
func recorded(t *testing.T) (compiler, sources string) {
	t.Helper()
	sums, err := os.ReadFile("bin/SUMS")
	require.NoError(t, err)
	first, rest, _ := strings.Cut(string(sums), "\n")
	return strings.TrimPrefix(first, "compiler "), rest
}

func TestBinariesAreOfTheseSources(t *testing.T) {
	compiler, _ := recorded(t)
	now, err := guests.Sums("src", compiler)
	require.NoError(t, err)
	was, err := os.ReadFile("bin/SUMS")
	require.NoError(t, err)
	require.Equal(t, string(was), now, "sources changed: go generate ./test/guests")
}

func TestBinariesAreReproducible(t *testing.T) {
	compiler, _ := recorded(t)
	installed, err := guests.Compiler()
	if err != nil || installed != compiler {
		t.Skipf("binaries were built by %q, here is %q (%v)", compiler, installed, err)
	}
	dir := t.TempDir()
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			out := filepath.Join(dir, name+"."+target)
			require.NoError(t, guests.Compile("src", name, target, out))
			built, err := os.ReadFile(out)
			require.NoError(t, err)
			require.Equal(t, guests.Image(name, target), built, "%s.%s", name, target)
		}
	}
}

func TestEveryProgramIsListed(t *testing.T) {
	entries, err := os.ReadDir("bin")
	require.NoError(t, err)
	require.Len(t, entries, len(guests.Names())*len(guests.Targets())+1)
}

func TestUnknownGuestPanics(t *testing.T) {
	require.PanicsWithValue(t, "internal error: no guest nobody for spt", func() {
		guests.Image("nobody", "spt")
	})
}

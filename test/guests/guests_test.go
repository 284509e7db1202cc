package guests_test

import (
	"bytes"
	"debug/elf"
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

// TestSectionsAreThoseOfSolo5: native clients find ABI and manifest of an image by the
// names of sections, as Solo5's toolchain writes them.
func TestSectionsAreThoseOfSolo5(t *testing.T) {
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			image, err := elf.NewFile(bytes.NewReader(guests.Image(name, target)))
			require.NoError(t, err)
			for section, kind := range map[string]uint32{".note.solo5.abi": 0x31494241, ".note.solo5.manifest": 0x3154464d} {
				s := image.Section(section)
				require.NotNil(t, s, "%s.%s has no %s", name, target, section)
				require.Equal(t, elf.SHT_NOTE, s.Type)
				note, err := s.Data()
				require.NoError(t, err)
				require.Equal(t, kind, image.ByteOrder.Uint32(note[8:]))
				require.Equal(t, "Solo5\x00", string(note[12:18]))
			}
		}
	}
}

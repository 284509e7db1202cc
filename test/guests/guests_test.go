package guests_test

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
)

// recorded returns SUMS, and the compiler in it.
func recorded(t *testing.T, a guests.Architecture) (compiler, sums string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("bin", a.Dir, "SUMS"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(first, "compiler "), string(text)
}

// forEach runs a test for each processor.
func forEach(t *testing.T, test func(t *testing.T, a guests.Architecture)) {
	for _, a := range guests.Architectures {
		t.Run(a.Name, func(t *testing.T) { test(t, a) })
	}
}

func TestBinariesAreOfTheseSources(t *testing.T) {
	forEach(t, func(t *testing.T, a guests.Architecture) {
		compiler, was := recorded(t, a)
		now, err := guests.Sums("src", compiler)
		require.NoError(t, err)
		require.Equal(t, was, now, "sources changed: go generate ./test/guests")
	})
}

func TestBinariesAreReproducible(t *testing.T) {
	forEach(t, func(t *testing.T, a guests.Architecture) {
		compiler, _ := recorded(t, a)
		installed, err := a.Compiler()
		if err != nil || installed != compiler {
			t.Skipf("binaries were built by %q, here is %q (%v)", compiler, installed, err)
		}
		dir := t.TempDir()
		for _, name := range guests.Names() {
			for _, target := range guests.Targets() {
				out := filepath.Join(dir, name+"."+target)
				require.NoError(t, a.Compile("src", name, target, out))
				built, err := os.ReadFile(out)
				require.NoError(t, err)
				require.Equal(t, guests.ImageFor(a.Name, name, target), built, "%s.%s", name, target)
			}
		}
	})
}

func TestEveryProgramIsListed(t *testing.T) {
	forEach(t, func(t *testing.T, a guests.Architecture) {
		entries, err := os.ReadDir(filepath.Join("bin", a.Dir))
		require.NoError(t, err)
		entries = slices.DeleteFunc(entries, os.DirEntry.IsDir)
		require.Len(t, entries, len(guests.Names())*len(guests.Targets())+1)
	})
}

func TestUnknownGuestPanics(t *testing.T) {
	require.PanicsWithValue(t, "internal error: no guest nobody for spt on "+runtime.GOARCH, func() {
		guests.Image("nobody", "spt")
	})
}

// TestSectionsAreThoseOfSolo5: native clients find ABI and manifest of an image by the
// names of sections, as Solo5's toolchain writes them.
func TestSectionsAreThoseOfSolo5(t *testing.T) {
	forEach(t, testSections)
}

func testSections(t *testing.T, a guests.Architecture) {
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			image, err := elf.NewFile(bytes.NewReader(guests.ImageFor(a.Name, name, target)))
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

package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors/ledger"
	"albatross/cmd/nativestate"
	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/store"
	"albatross/sockets/wire"
)

// A start does to a database directory what a start of the daemon does up to the import.
type start struct {
	dir    string
	db     *store.DB
	images *store.Images
	log    bytes.Buffer
}

func begin(t testing.TB, dir string) *start {
	db, err := store.Open(dir)
	require.NoError(t, err)
	images, err := store.OpenImages(dir)
	require.NoError(t, err)
	s := &start{dir: dir, db: db, images: images}
	t.Cleanup(func() { _ = db.Close() })
	return s
}

func (s *start) imports() error {
	return importNative(s.dir, s.db, s.images, strangers{}, slog.New(slog.NewTextHandler(&s.log, nil)))
}

func (s *start) stored(t testing.TB) messages.State {
	state, err := s.db.Load()
	require.NoError(t, err)
	return state
}

// stop closes the database for another start.
func (s *start) stop(t testing.TB) { require.NoError(t, s.db.Close()) }

// requireUntouched checks that neither the database nor the image store has anything.
func (s *start) requireUntouched(t testing.TB) {
	require.Equal(t, messages.State{}, s.stored(t))
	images, err := os.ReadDir(filepath.Join(s.dir, store.ImageDir))
	require.NoError(t, err)
	require.Empty(t, images)
}

// image returns an image of the image store.
func (s *start) image(t testing.TB, d messages.Digest) []byte {
	data, err := os.ReadFile(s.images.Path(d))
	require.NoError(t, err)
	return data
}

func statePath(dir string) string { return filepath.Join(dir, nativestate.File) }

func writeFile(t require.TestingT, path string, data []byte) {
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func encode(t require.TestingT, s wire.State) []byte {
	data, err := wire.AppendState(nil, s)
	require.NoError(t, err)
	return data
}

// unikernel returns one of 2.5: its labels may be in upper case.
func unikernel(path messages.Path, label messages.Label) messages.NamedConfig {
	return messages.NamedConfig{
		Name: messages.Name{Path: path, Label: label},
		Config: messages.Config{Image: []byte("image"), Arguments: messages.Arguments{
			AddName: true, CPUIDs: []int{0}, Memory: 32, CPUs: 1,
		}},
	}
}

func compressed(t require.TestingT, u messages.NamedConfig) messages.NamedConfig {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, err := z.Write(u.Config.Image)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	u.Config.Compressed, u.Config.Image = true, out.Bytes()
	return u
}

func policyAt(path messages.Path, label messages.Label) messages.NamedPolicy {
	return messages.NamedPolicy{
		Name:   messages.Name{Path: path, Label: label},
		Policy: messages.Policy{Unikernels: 3, CPUIDs: []int{0}, Memory: 64},
	}
}

func state(unikernels ...messages.NamedConfig) wire.State {
	return wire.State{Choice: wire.StateUntil25, Unikernels: unikernels}
}

func TestWhereThereIsNoStateNothingIsImported(t *testing.T) {
	s := begin(t, t.TempDir())
	require.NoError(t, s.imports())
	s.requireUntouched(t)
	require.Empty(t, s.log.String())
}

func TestAStateThatComesBeforeAnythingElseIsImported(t *testing.T) {
	dir := t.TempDir()
	first := begin(t, dir)
	require.NoError(t, first.imports())
	first.stop(t)
	writeFile(t, statePath(dir), encode(t, state(unikernel("", "hello"))))
	second := begin(t, dir)
	require.NoError(t, second.imports())
	require.Len(t, second.stored(t).Unikernels, 1)
}

func TestWhatIsImportedIsToldAsEvents(t *testing.T) {
	dir := t.TempDir()
	native := state(unikernel("a", "hello"))
	native.Policies = []messages.NamedPolicy{policyAt("a", ""), policyAt(messages.Root, "")}
	writeFile(t, statePath(dir), encode(t, native))
	s := begin(t, dir)
	require.NoError(t, s.imports())
	list, _, err := s.db.Events(1, 10)
	require.NoError(t, err)
	var stored []string
	for _, e := range list {
		stored = append(stored, fmt.Sprintf("%s %s: %s", e.Event.Name, e.Event.Kind, e.Event.Cause))
	}
	require.Equal(t, []string{
		"a:hello created: the import from native albatross",
		"a: policy-added: the import from native albatross",
	}, stored)
}

func TestNothingIsImportedTwice(t *testing.T) {
	dir := t.TempDir()
	file := encode(t, wire.State{
		Unikernels: []messages.NamedConfig{unikernel("", "hello"), unikernel("", "again")},
		Policies:   []messages.NamedPolicy{policyAt("", ""), policyAt("a", "")},
	})
	writeFile(t, statePath(dir), file)
	first := begin(t, dir)
	require.NoError(t, first.imports())
	require.Contains(t, first.log.String(), "unikernels=2 policies=2")
	require.NoError(t, first.db.Apply([]messages.Change{
		messages.DeleteUnikernel{Name: messages.Name{Label: "hello"}},
		messages.DeleteUnikernel{Name: messages.Name{Label: "again"}},
		messages.DeletePolicy{Path: "a"},
	}))
	first.stop(t)

	second := begin(t, dir)
	require.NoError(t, second.imports())
	require.Equal(t, messages.State{Imported: true}, second.stored(t))
	require.Equal(t, 1, strings.Count(second.log.String(), "\n"), second.log.String())
	require.Contains(t, second.log.String(), "left alone")
	left, err := os.ReadFile(statePath(dir))
	require.NoError(t, err)
	require.Equal(t, file, left)
}

// TestADatabaseInUseIsLeftAlone, even if nothing of the import is stored any more.
func TestADatabaseInUseIsLeftAlone(t *testing.T) {
	hello := messages.Name{Label: "hello"}
	for what, c := range map[string]struct{ use, end messages.Change }{
		"unikernel": {messages.PutSpec{Name: hello}, messages.DeleteUnikernel{Name: hello}},
		"policy":    {messages.PutPolicy{Path: "a"}, messages.DeletePolicy{Path: "a"}},
		"end":       {messages.PutEnd{Name: hello}, messages.DeleteEnd{Name: hello}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := begin(t, dir)
			require.NoError(t, s.db.Apply([]messages.Change{c.use}))
			before := s.stored(t)
			writeFile(t, statePath(dir), []byte("not even a state"))
			require.NoError(t, s.imports())
			before.Imported = true
			require.Equal(t, before, s.stored(t))
			require.Contains(t, s.log.String(), "left alone")

			require.NoError(t, s.db.Apply([]messages.Change{c.end}))
			writeFile(t, statePath(dir), encode(t, state(unikernel("", "web"))))
			require.NoError(t, s.imports())
			require.Equal(t, messages.State{Imported: true}, s.stored(t))
		})
	}
}

func TestWhatCannotBeImportedStopsTheStart(t *testing.T) {
	good := unikernel("", "good")
	bhyve := unikernel("a", "free")
	bhyve.Config.Type = messages.BHyve
	noZlib, cut, wrongSum := compressed(t, unikernel("", "z")), compressed(t, unikernel("", "z")), compressed(t, unikernel("", "z"))
	noZlib.Config.Image = []byte("no zlib")
	cut.Config.Image = cut.Config.Image[:len(cut.Config.Image)-5]
	wrongSum.Config.Image[len(wrongSum.Config.Image)-1] ^= 1
	whole := encode(t, state(good))
	long := unikernel(messages.Path(strings.Repeat("a:", 20_000)+"a"), "x") // the key is too long for the database

	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":           {nil, "cannot decode state"},
		"garbage":         {[]byte("garbage"), "cannot decode state"},
		"truncated":       {whole[:len(whole)-1], "cannot decode state"},
		"trailing":        {append(bytes.Clone(whole), 0), "cannot decode state"},
		"path":            {encode(t, state(good, unikernel("a:b", ""))), "a unikernel has the name a:b:, which is that of a path"},
		"same but case":   {encode(t, state(good, unikernel("a", "Web"), unikernel("A", "web"))), "two unikernels have the name a:web"},
		"bhyve":           {encode(t, wire.State{Unikernels: []messages.NamedConfig{good, bhyve}}), "a:free is a bhyve unikernel"},
		"no zlib":         {encode(t, state(good, noZlib)), "unikernel :z: cannot store image: cannot decompress image: "},
		"zlib cut":        {encode(t, state(good, cut)), "unikernel :z: cannot store image: cannot decompress image: "},
		"zlib checksum":   {encode(t, state(good, wrongSum)), "unikernel :z: cannot store image: cannot decompress image: "},
		"same path":       {encode(t, wire.State{Policies: []messages.NamedPolicy{policyAt("a", ""), policyAt("A", "")}}), "two policies are on the path a:"},
		"path with label": {encode(t, wire.State{Policies: []messages.NamedPolicy{policyAt("a", ""), policyAt("a", "b")}}), "two policies are on the path a:"},
		"unstorable":      {encode(t, state(good, long)), "key too large"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, statePath(dir), c.file)
			s := begin(t, dir)
			for range 2 {
				err := s.imports()
				require.ErrorContains(t, err, "cannot import "+statePath(dir)+": ")
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, "move the file away to start without its unikernels")
				require.Equal(t, messages.State{}, s.stored(t))
			}
			if name != "unstorable" { // the next start of the daemon removes those images
				s.requireUntouched(t)
			}
			left, err := os.ReadFile(statePath(dir))
			require.NoError(t, err)
			require.Equal(t, len(c.file), len(left))
			require.True(t, bytes.Equal(c.file, left))

			require.NoError(t, os.Rename(statePath(dir), filepath.Join(dir, "away")))
			require.NoError(t, s.imports())
			require.Equal(t, messages.State{}, s.stored(t))
		})
	}
}

func TestAStateThatIsNoFileIsNotFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "it is not a regular file"},
		"pipe":      {func(path string) error { return unix.Mkfifo(path, 0o600) }, "it is not a regular file"},
		"link":      {func(path string) error { return os.Symlink("real", path) }, "too many levels of symbolic links"},
		"huge":      {func(path string) error { return hugeFile(path) }, "it is larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "real"), encode(t, state(unikernel("", "hello"))))
			require.NoError(t, c.make(statePath(dir)))
			s := begin(t, dir)
			require.ErrorContains(t, s.imports(), c.want)
			s.requireUntouched(t)
		})
	}
}

// hugeFile makes a large file that takes no room on disk.
func hugeFile(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, 16<<30+1)
}

// TestUpperCaseBecomesLowerCase: the names of 2.5 are folded, and the files of
// its block devices are found by the folded names.
func TestUpperCaseBecomesLowerCase(t *testing.T) {
	dir := t.TempDir()
	blocks := filepath.Join(dir, "block")
	require.NoError(t, os.Mkdir(blocks, 0o700))
	file := filepath.Join(blocks, "Org:Data")
	writeFile(t, file, make([]byte, 1<<20))
	u := unikernel("Org", "Web")
	u.Config.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("Data")}}
	native := state(u)
	native.Policies = []messages.NamedPolicy{policyAt("Org", "")}
	writeFile(t, statePath(dir), encode(t, native))

	s := begin(t, dir)
	require.NoError(t, s.imports())
	stored := s.stored(t)
	require.Equal(t, "org:web", stored.Unikernels[0].Name.String())
	require.Equal(t, messages.Path("org"), stored.Policies[0].Name.Path)

	d, err := block.Open(blocks)
	require.NoError(t, err)
	devices, problems, err := d.Scan()
	require.NoError(t, err)
	require.Empty(t, problems)
	used := ledger.Devices(stored.Unikernels[0].Name, stored.Unikernels[0].Spec.Arguments)
	require.Equal(t, []block.Device{{Name: used[0], Size: 1}}, devices)
	require.Equal(t, file, d.Path(used[0]))
}

// TestEqualImagesAreStoredOnce: compressed or not.
func TestEqualImagesAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, statePath(dir), encode(t, state(unikernel("", "a"), compressed(t, unikernel("", "b")))))
	s := begin(t, dir)
	require.NoError(t, s.imports())
	list := s.stored(t).Unikernels
	require.Len(t, list, 2)
	require.Equal(t, list[0].Spec, list[1].Spec)
	require.Equal(t, "image", string(s.image(t, list[0].Spec.Digest)))
	removed, err := s.images.Collect(func(messages.Digest) bool { return false })
	require.NoError(t, err)
	require.Equal(t, 1, removed, "an image is pinned by nobody after the import")
}

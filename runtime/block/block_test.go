package block_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/block"
)

const megabyte = 1 << 20

// The test binary runs itself again as a daemon that is killed while it
// writes.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "setter" {
		set(os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

func name(t require.TestingT, text string) messages.Name {
	n, err := messages.ParseName(text)
	require.NoError(t, err)
	return n
}

func open(t *testing.T) (*block.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db", "block")
	d, err := block.Open(path)
	require.NoError(t, err)
	return d, path
}

// created returns a directory with a device of two megabytes in it, and the contents of the device.
func created(t *testing.T) (d *block.Dir, path string, disk messages.Name, old []byte) {
	t.Helper()
	d, path = open(t)
	disk, old = name(t, "disk"), random(1, 2*megabyte)
	require.NoError(t, d.Create(t.Context(), disk, 2, bytes.NewReader(old)))
	return d, path, disk, old
}

// random returns contents without a page of zeros. No two pages nearby are the same.
func random(seed byte, size int) []byte {
	data := make([]byte, 10007)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return bytes.Repeat(data, size/len(data)+1)[:size]
}

// read returns the contents of a device.
func read(t require.TestingT, d *block.Dir, n messages.Name) []byte {
	r, err := d.Reader(n, 0)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return data
}

// same is require.Equal, but does not print megabytes when it fails.
func same(t require.TestingT, want, got []byte) {
	require.Len(t, got, len(want))
	require.True(t, bytes.Equal(want, got), "other contents")
}

// files returns the names in a directory.
func files(t require.TestingT, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpenMakesAPrivateDirectory(t *testing.T) {
	_, path := open(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, info.Mode()&0o027)
	_, err = block.Open(path)
	require.NoError(t, err, "again")
}

func TestOpenWhereItCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := block.Open(file)
	require.ErrorContains(t, err, "cannot open block devices in "+file+": ")
}

func TestPathIsAFileInTheDirectory(t *testing.T) {
	d, path := open(t)
	for text, file := range map[string]string{
		"disk": ":disk", "a:b:disk": "a:b:disk", "a:": "a:", ":": ":", ".": ":.", "..": ":..", "..:..": "..:..",
	} {
		require.Equal(t, path+"/"+file, d.Path(name(t, text)))
		require.NoError(t, d.Create(t.Context(), name(t, text), 1, nil))
		require.FileExists(t, path+"/"+file)
	}
}

func TestRemove(t *testing.T) {
	d, path, disk, _ := created(t)
	require.NoError(t, d.Remove(disk))
	require.Empty(t, files(t, path))
	require.NoError(t, d.Remove(disk), "again")
	require.NoError(t, d.Create(t.Context(), disk, 1, nil))
}

// No command changes a file that is not a device, least of all the target of a link.
func TestWhatIsNoDeviceIsRefused(t *testing.T) {
	d, path, disk, old := created(t)
	for kind, create := range map[string]func(path string) error{
		"link to a directory": func(p string) error { return os.Symlink(path, p) },
		"link to /dev/null":   func(p string) error { return os.Symlink("/dev/null", p) },
		"loose link":          func(p string) error { return os.Symlink("nowhere", p) },
		"directory":           func(p string) error { return os.Mkdir(p, 0o700) },
		"named pipe":          func(p string) error { return unix.Mkfifo(p, 0o600) },
		"empty":               func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"odd":                 func(p string) error { return os.WriteFile(p, make([]byte, megabyte+1), 0o600) },
	} {
		t.Run(kind, func(t *testing.T) {
			other := name(t, "other")
			require.NoError(t, create(d.Path(other)))
			defer func() { require.NoError(t, os.Remove(d.Path(other))) }()
			before, err := os.Lstat(d.Path(other))
			require.NoError(t, err)

			require.ErrorContains(t, d.Set(t.Context(), other, bytes.NewReader(nil)), "cannot set block device :other: ")
			require.ErrorContains(t, d.Remove(other), "cannot remove block device :other: ")
			require.EqualError(t, d.Create(t.Context(), other, 1, nil),
				"cannot create block device :other: file already exists, which the operator of the host has to move away")
			_, err = d.Reader(other, 0)
			require.ErrorContains(t, err, "cannot read block device :other: ")

			after, err := os.Lstat(d.Path(other))
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
			require.Equal(t, []any{before.Mode(), before.Size(), before.ModTime()}, []any{after.Mode(), after.Size(), after.ModTime()})
			same(t, old, read(t, d, disk))
			require.Len(t, files(t, path), 2)
		})
	}
}

func TestDeviceThatIsNotThere(t *testing.T) {
	d, path := open(t)
	nope := name(t, "a:nope")
	require.ErrorIs(t, d.Set(t.Context(), nope, untouched{t}), os.ErrNotExist)
	_, err := d.Reader(nope, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Empty(t, files(t, path))
}

func TestNothingStaysOpen(t *testing.T) {
	d, _, disk, old := created(t)
	odd := name(t, "odd")
	put(t, d.Path(odd), 1)
	before := files(t, "/proc/self/fd")
	for level := range 10 {
		require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(old)))
		require.Error(t, d.Set(t.Context(), disk, iotest.ErrReader(io.ErrClosedPipe)))
		require.Error(t, d.Create(t.Context(), disk, 1, nil))
		_, _, err := d.Scan()
		require.NoError(t, err)
		r, err := d.Reader(disk, level)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		_, err = d.Reader(odd, level)
		require.Error(t, err)
	}
	require.Len(t, files(t, "/proc/self/fd"), len(before))
}

// untouched are contents that must not be read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("read")
	return 0, context.Canceled
}

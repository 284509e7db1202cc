package block_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestALinkedDevice is the file that the link leads to, also on another file system. A set and a
// dump use that file, and the link stays until the device is removed.
func TestALinkedDevice(t *testing.T) {
	d, path := open(t)
	elsewhere := t.TempDir()
	if unix.Mount("tmpfs", elsewhere, "tmpfs", 0, "size=8m") == nil {
		t.Cleanup(func() { require.NoError(t, unix.Unmount(elsewhere, 0)) })
	}
	target := filepath.Join(elsewhere, "volume")
	put(t, target, 2*megabyte)
	require.NoError(t, os.Symlink("link", filepath.Join(path, ":disk")))
	require.NoError(t, os.Symlink(target, filepath.Join(path, "link"))) // a link to a link
	disk := name(t, "disk")
	devices, problems := scan(t, d, path)
	require.Equal(t, []string{":disk 2"}, devices)
	require.Equal(t, []string{"link: it is not named as a block device: that would be :link"}, problems)

	require.NoError(t, d.Set(t.Context(), disk, strings.NewReader("new")))
	require.Equal(t, "new", string(read(t, d, disk)[:3]))
	data, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Len(t, data, 2*megabyte)
	require.Equal(t, "new", string(data[:3]))
	require.Error(t, d.Set(t.Context(), disk, iotest.ErrReader(io.ErrClosedPipe)))
	require.Equal(t, []string{"volume"}, files(t, elsewhere), "nothing else is left")
	require.Equal(t, "new", string(read(t, d, disk)[:3]))

	require.NoError(t, d.Remove(disk))
	require.Equal(t, []string{"link"}, files(t, path))
	require.FileExists(t, target, "it is the operator's")
}

// TestWhatACrashLeavesBesideALinkedDevice is removed, where it is ours.
func TestWhatACrashLeavesBesideALinkedDevice(t *testing.T) {
	d, path := open(t)
	elsewhere := t.TempDir()
	target := filepath.Join(elsewhere, "volume")
	put(t, target, megabyte)
	put(t, target+".albatross-new", 5)
	require.NoError(t, os.Symlink(target, filepath.Join(path, ":disk")))
	devices, _ := scan(t, d, path)
	require.Equal(t, []string{":disk 1"}, devices)
	require.Equal(t, []string{"volume"}, files(t, elsewhere))

	put(t, target+".albatross-new", 5)
	require.NoError(t, d.Set(t.Context(), name(t, "disk"), bytes.NewReader(nil)))
	require.Equal(t, []string{"volume"}, files(t, elsewhere))
	require.NoError(t, os.Mkdir(target+".albatross-new", 0o700))
	require.ErrorContains(t, d.Set(t.Context(), name(t, "disk"), bytes.NewReader(nil)), "is none of ours")
}

// TestWhatALinkMustNotLeadTo: the error says why.
func TestWhatALinkMustNotLeadTo(t *testing.T) {
	elsewhere := t.TempDir()
	foreign := filepath.Join(elsewhere, "foreign")
	put(t, foreign, megabyte)
	problems := map[string]string{
		elsewhere:   "it is a symbolic link to what is not a regular file",
		"/dev/null": "it is a symbolic link to what is not a regular file",
		"nowhere":   "it is a symbolic link that leads nowhere: no such file or directory",
		":link":     "it is a symbolic link that leads nowhere: EvalSymlinks: too many links",
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(foreign, 12345, -1))
		problems[foreign] = "it is a symbolic link to a file of another user"
	}
	for target, problem := range problems {
		d, path := open(t)
		require.NoError(t, os.Symlink(target, filepath.Join(path, ":link")))
		devices, problems := scan(t, d, path)
		require.Empty(t, devices)
		require.Equal(t, []string{":link: " + problem}, problems)
		link := name(t, "link")
		_, err := d.Reader(link, 0)
		require.EqualError(t, err, "cannot read block device :link: "+problem)
		require.EqualError(t, d.Set(t.Context(), link, untouched{t}), "cannot set block device :link: "+problem)
		require.EqualError(t, d.Remove(link), "cannot remove block device :link: "+problem)
		require.Equal(t, []string{":link"}, files(t, path))
	}
}

// TestAFileIsOneDevice: under two names, two unikernels would write to it.
func TestAFileIsOneDevice(t *testing.T) {
	d, path := open(t)
	put(t, filepath.Join(path, ":a"), megabyte)
	require.NoError(t, os.Link(filepath.Join(path, ":a"), filepath.Join(path, ":b")))
	require.NoError(t, os.Symlink(":a", filepath.Join(path, ":z")))
	devices, problems := scan(t, d, path)
	require.Equal(t, []string{":b 1"}, devices)
	require.Equal(t, []string{":a: it is the same file as the block device :b", ":z: it is the same file as the block device :b"}, problems)
}

package store_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/store"
)

// verityDisk mounts a new file system with fs-verity, and returns where, and a function that
// changes contents behind the back of the file system.
func verityDisk(t *testing.T) (dir string, spoil func(contents []byte)) {
	t.Helper()
	if _, err := os.Stat("/sys/fs/ext4/features/verity"); err != nil {
		t.Skip("this kernel has no fs-verity: the tests in the virtual machine (make vm-test) have it")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	run := func(program string, args ...string) {
		t.Helper()
		out, err := exec.Command(program, args...).CombinedOutput()
		require.NoError(t, err, "%s: %s", program, out)
	}
	disk, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, 32<<20))
	run("mkfs.ext4", "-q", "-b", "4096", "-O", "verity", disk)
	run("mount", "-o", "loop", disk, dir)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir, func(contents []byte) {
		t.Helper()
		run("umount", dir)
		all, err := os.ReadFile(disk)
		require.NoError(t, err)
		at := bytes.Index(all, contents)
		require.Positive(t, at)
		f, err := os.OpenFile(disk, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{contents[0] + 1}, int64(at))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		run("mount", "-o", "loop", disk, dir)
	}
}

// TestSealedImages: the kernel refuses to read what has changed on disk, without a change of the
// file, also for a store that has verified it before.
func TestSealedImages(t *testing.T) {
	dir, spoil := verityDisk(t)
	contents := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(contents) // it never fails
	images, err := store.OpenImages(dir)
	require.NoError(t, err)
	d, err := images.AddBytes(contents)
	require.NoError(t, err)
	require.Empty(t, images.Verify(t.Context(), []messages.Digest{d}))
	_, err = os.OpenFile(images.Path(d), os.O_WRONLY, 0)
	require.ErrorIs(t, err, unix.EPERM, "nobody may write to what is sealed")

	spoil(contents[600_000:600_100])
	f, _, err := images.Open(d)
	require.NoError(t, err, "the file has not changed")
	_, err = io.ReadAll(f)
	require.ErrorIs(t, err, unix.EIO)
	require.NoError(t, f.Close())
	next, err := store.OpenImages(dir)
	require.NoError(t, err)
	_, _, err = next.Open(d)
	require.ErrorIs(t, err, store.ErrDamaged)

	_, err = next.AddBytes(contents)
	require.NoError(t, err, "it takes the place of the damaged one")
	require.Empty(t, next.Verify(t.Context(), []messages.Digest{d}))
	f, _, err = next.Open(d)
	require.NoError(t, err)
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.True(t, bytes.Equal(contents, got))
}

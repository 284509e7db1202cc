package block_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/block"
)

// At whichever byte the contents break off, and with whichever error, the old ones stay, and no
// other file does.
func TestContentsThatFailChangeNothing(t *testing.T) {
	d, path, disk, old := created(t)
	contents := random(2, 2*megabyte)
	offsets := []int{0, 1, 4095, 4096, 4097, 2*megabyte - 1, 2 * megabyte}
	for at := 256 << 10; at < 2*megabyte; at += 256 << 10 {
		offsets = append(offsets, at-1, at, at+1)
	}
	broken := errors.New("connection lost")
	for _, at := range offsets {
		for _, cause := range []error{broken, io.ErrUnexpectedEOF, io.ErrClosedPipe, fmt.Errorf("wrapped: %w", io.EOF)} {
			cut := func() io.Reader { return io.MultiReader(bytes.NewReader(contents[:at]), iotest.ErrReader(cause)) }
			require.ErrorIs(t, d.Set(t.Context(), disk, cut()), cause, "at %d", at)
			require.ErrorIs(t, d.Create(t.Context(), name(t, "other"), 2, cut()), cause, "at %d", at)
		}
		require.Equal(t, []string{":disk"}, files(t, path))
		same(t, old, read(t, d, disk))
	}
}

func TestSetEndsWithItsContext(t *testing.T) {
	d, path, disk, old := created(t)
	for _, at := range []int64{0, 5000, 2 * megabyte} {
		ctx, cancel := context.WithCancel(t.Context())
		contents := io.MultiReader(io.LimitReader(endless{}, at), readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, nil // and no EOF
		}))
		require.ErrorIs(t, d.Set(ctx, disk, contents), context.Canceled)
		require.ErrorIs(t, d.Set(ctx, disk, untouched{t}), context.Canceled)
		require.ErrorIs(t, d.Create(ctx, name(t, "other"), 1, untouched{t}), context.Canceled)
	}
	// This also holds if all contents have been read already.
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, d.Set(ctx, disk, readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	})), context.Canceled)
	require.Equal(t, []string{":disk"}, files(t, path))
	same(t, old, read(t, d, disk))
}

// endless yields contents that never end, none of which is zero.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestContentsThatAreTooLarge(t *testing.T) {
	d, path, disk, old := created(t)
	for kind, contents := range map[string]io.Reader{
		"one byte":      bytes.NewReader(make([]byte, 2*megabyte+1)),
		"endless":       endless{},
		"with an error": iotest.DataErrReader(io.MultiReader(io.LimitReader(endless{}, 2*megabyte+1), iotest.ErrReader(io.ErrNoProgress))),
	} {
		err := d.Set(t.Context(), disk, contents)
		require.ErrorIs(t, err, block.ErrTooLarge, kind)
		require.EqualError(t, err, "cannot set block device :disk: the contents are larger than the device")
		same(t, old, read(t, d, disk))
	}
	require.ErrorIs(t, d.Create(t.Context(), name(t, "other"), 1, endless{}), block.ErrTooLarge)
	require.Equal(t, []string{":disk"}, files(t, path))
}

// No more than one byte too much is read, so that the sender can be refused at once.
func TestSetStopsAtTheFirstByteTooMuch(t *testing.T) {
	d, _, disk, _ := created(t)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- d.Set(t.Context(), disk, r) }()
	n, err := w.Write(make([]byte, 2*megabyte))
	require.NoError(t, err)
	require.Equal(t, 2*megabyte, n)
	go func() { _, _ = w.Write([]byte("x")) }()
	require.ErrorIs(t, <-done, block.ErrTooLarge)
	require.NoError(t, r.Close())
}

func TestFullDiskChangesNothing(t *testing.T) {
	mount := smallDisk(t, "3m")
	path := filepath.Join(mount, "block")
	d, err := block.Open(path)
	require.NoError(t, err)
	disk, old := name(t, "disk"), random(1, megabyte)
	require.NoError(t, d.Create(t.Context(), disk, 8, bytes.NewReader(old)))
	for range 3 {
		err := d.Set(t.Context(), disk, bytes.NewReader(random(2, 4*megabyte)))
		require.ErrorIs(t, err, unix.ENOSPC)
		require.ErrorIs(t, d.Create(t.Context(), name(t, "other"), 8, bytes.NewReader(random(3, 4*megabyte))), unix.ENOSPC)
		require.Equal(t, []string{":disk"}, files(t, path))
		same(t, padded(old, 8*megabyte), read(t, d, disk))
	}
	// The room of the failed changes is free again.
	contents := random(2, megabyte)
	require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(contents)))
	same(t, padded(contents, 8*megabyte), read(t, d, disk))
}

// smallDisk mounts a file system in memory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// A tenant reads what does not work, and no paths of the host.
func TestErrorsTellNoPathOfTheHost(t *testing.T) {
	d, path, disk, _ := created(t)
	gone := name(t, "gone")
	_, err := d.Reader(gone, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, err := range []error{
		err,
		d.Set(t.Context(), gone, untouched{t}),
		d.Create(t.Context(), gone, 1<<42, nil), // larger than a file can be
		d.Create(t.Context(), disk, 1, nil),
	} {
		require.Error(t, err)
		require.NotContains(t, err.Error(), path)
		require.NotContains(t, err.Error(), "tmp_")
	}
}

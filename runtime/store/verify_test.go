package store_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

// damage changes a byte of the file of an image, and keeps its size and its times of modification.
func damage(t *testing.T, images *store.Images, d messages.Digest) {
	t.Helper()
	path := images.Path(d)
	before, err := os.Stat(path)
	require.NoError(t, err)
	contents, err := os.ReadFile(path)
	require.NoError(t, err)
	contents[len(contents)/2]++
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(contents)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Chtimes(path, time.Time{}, before.ModTime()))
}

// TestDamagedImages: an image that is opened is the one that was stored, also by a store that has
// not stored it itself.
func TestDamagedImages(t *testing.T) {
	dir := t.TempDir()
	contents := bytes.Repeat([]byte("image "), 100_000)
	first, err := store.OpenImages(dir)
	require.NoError(t, err)
	d, err := first.AddBytes(contents)
	require.NoError(t, err)
	require.Equal(t, messages.Digest(sha256.Sum256(contents)), d)
	second, err := store.OpenImages(dir)
	require.NoError(t, err)
	require.Empty(t, second.Verify(t.Context(), []messages.Digest{d}))

	damage(t, first, d)
	third, err := store.OpenImages(dir)
	require.NoError(t, err)
	for _, images := range []*store.Images{first, second, third} {
		for range 2 { // the store does not remember it as verified
			_, _, err = images.Open(d)
			require.ErrorIs(t, err, store.ErrDamaged)
			require.NotContains(t, err.Error(), dir)
		}
		errs := images.Verify(t.Context(), []messages.Digest{d, {1}})
		require.Len(t, errs, 2)
		require.ErrorIs(t, errs[0], store.ErrDamaged)
		require.ErrorIs(t, errs[1], os.ErrNotExist)
	}
}

// TestADamagedImageIsReplaced when it is stored again.
func TestADamagedImageIsReplaced(t *testing.T) {
	contents := bytes.Repeat([]byte("image "), 100_000)
	for title, add := range map[string]func(*store.Images) (messages.Digest, error){
		"from memory": func(i *store.Images) (messages.Digest, error) { return i.AddBytes(contents) },
		"from a stream": func(i *store.Images) (messages.Digest, error) {
			d, _, err := i.Add(bytes.NewReader(contents), 1<<20)
			return d, err
		},
	} {
		t.Run(title, func(t *testing.T) {
			images, err := store.OpenImages(t.TempDir())
			require.NoError(t, err)
			d, err := add(images)
			require.NoError(t, err)
			damage(t, images, d)
			_, err = add(images)
			require.NoError(t, err)
			f, size, err := images.Open(d)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.Equal(t, int64(len(contents)), size)
			now, err := os.ReadFile(images.Path(d))
			require.NoError(t, err)
			require.True(t, bytes.Equal(contents, now))
		})
	}
}

// BenchmarkVerify measures what it costs to open an image of 8 MB that has not been read: x-hash
// shows how many times as long it takes as to hash as much memory.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	contents := bytes.Repeat([]byte("image..."), 1<<20)
	images, err := store.OpenImages(dir)
	require.NoError(b, err)
	d, err := images.AddBytes(contents)
	require.NoError(b, err)
	var hashing time.Duration
	for b.Loop() {
		fresh, err := store.OpenImages(dir)
		require.NoError(b, err)
		require.Empty(b, fresh.Verify(b.Context(), []messages.Digest{d}))
		begun := time.Now()
		_ = sha256.Sum256(contents)
		hashing += time.Since(begun)
	}
	b.ReportMetric(float64(b.Elapsed()-hashing)/float64(hashing), "x-hash")
}

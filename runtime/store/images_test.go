package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/runtime/store"
)

func openImages(t *testing.T) (*store.Images, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	images, err := store.OpenImages(dir)
	require.NoError(t, err)
	return images, filepath.Join(dir, store.ImageDir)
}

// add stores an image without a pin.
func add(t *testing.T, images *store.Images, content string) messages.Digest {
	t.Helper()
	d, size, err := images.Add(strings.NewReader(content), math.MaxInt64)
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), size)
	images.Unpin(d)
	return d
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

func nothing(messages.Digest) bool { return false }

func TestImageIsThereUnderItsHash(t *testing.T) {
	images, dir := openImages(t)
	for _, content := range []string{"", "image", strings.Repeat("large", 200_000)} {
		d := add(t, images, content)
		require.Equal(t, messages.Digest(sha256.Sum256([]byte(content))), d)
		require.Equal(t, filepath.Join(dir, d.String()), images.Path(d))
		f, size, err := images.Open(d)
		require.NoError(t, err)
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, content, string(got))
		require.Equal(t, int64(len(content)), size)
		info, err := os.Stat(images.Path(d))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o400), info.Mode())
	}
	require.Len(t, files(t, dir), 3)
}

func TestImageDirectoryIsPrivate(t *testing.T) {
	_, dir := openImages(t)
	for _, d := range []string{dir, filepath.Dir(dir)} {
		info, err := os.Stat(d)
		require.NoError(t, err)
		require.Zero(t, info.Mode()&0o027)
	}
}

func TestImageInMemoryIsStoredTheSame(t *testing.T) {
	images, dir := openImages(t)
	content := strings.Repeat("large", 200_000)
	d, err := images.AddBytes([]byte(content))
	require.NoError(t, err)
	require.Equal(t, content, contents(t, images.Path(d)))
	require.Equal(t, d, add(t, images, content))
	require.Len(t, files(t, dir), 1)
	removed, err := images.Remove(d, nothing)
	require.NoError(t, err)
	require.False(t, removed, "both have pinned it")
}

func TestImageIsStoredOnce(t *testing.T) {
	images, dir := openImages(t)
	first, err := os.Stat(images.Path(add(t, images, "image")))
	require.NoError(t, err)
	second, err := os.Stat(images.Path(add(t, images, "image")))
	require.NoError(t, err)
	require.True(t, os.SameFile(first, second))
	require.Len(t, files(t, dir), 1)
}

func TestKnownImageInMemoryIsNotWrittenAgain(t *testing.T) {
	images, dir := openImages(t)
	d, err := images.AddBytes([]byte("image"))
	require.NoError(t, err)
	long := time.Unix(1, 0)
	require.NoError(t, os.Chtimes(dir, long, long))
	again, err := images.AddBytes([]byte("image"))
	require.NoError(t, err)
	require.Equal(t, d, again)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, long.Unix(), info.ModTime().Unix(), "a file was made")
	images.Unpin(d)
	removed, err := images.Remove(d, nothing)
	require.NoError(t, err)
	require.False(t, removed, "both have pinned it")
}

func TestFileOfAnotherSizeIsReplaced(t *testing.T) {
	images, dir := openImages(t)
	d := add(t, images, "image")
	require.NoError(t, os.Chmod(images.Path(d), 0o600))
	require.NoError(t, os.WriteFile(images.Path(d), []byte("ima"), 0o600))
	add(t, images, "image")
	require.Equal(t, "image", contents(t, images.Path(d)))
	require.Len(t, files(t, dir), 1)
}

func TestImageOverTheLimitLeavesNothing(t *testing.T) {
	images, dir := openImages(t)
	_, _, err := images.Add(strings.NewReader("12345"), 4)
	require.EqualError(t, err, "cannot store image: it is too large: more than 4 bytes")
	require.Empty(t, files(t, dir))
	_, size, err := images.Add(strings.NewReader("12345"), 5)
	require.NoError(t, err)
	require.EqualValues(t, 5, size)
}

// The store does not read on beyond the limit of an image.
func TestEndlessImageIsRefused(t *testing.T) {
	images, _ := openImages(t)
	_, _, err := images.Add(zeros{}, 1<<20)
	require.ErrorContains(t, err, "more than 1048576 bytes")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestImageThatCannotBeReadLeavesNothing(t *testing.T) {
	images, dir := openImages(t)
	broken := errors.New("not a zlib stream")
	_, _, err := images.Add(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), 100)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "cannot store image: ")
	require.Empty(t, files(t, dir))
}

func TestImageThatDoesNotFitLeavesNothing(t *testing.T) {
	images, dir := openImages(t)
	signal.Ignore(unix.SIGXFSZ) // else the limit would end the program
	defer signal.Reset(unix.SIGXFSZ)
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 64 << 10, Max: old.Max}))
	_, _, err := images.Add(io.LimitReader(zeros{}, 1<<20), 1<<30)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	require.ErrorIs(t, err, unix.EFBIG)
	require.Empty(t, files(t, dir))
	add(t, images, strings.Repeat("x", 1<<20))
}

func TestImageThatIsNotThere(t *testing.T) {
	images, _ := openImages(t)
	var d messages.Digest
	_, _, err := images.Open(d)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "cannot open image: ")
	require.ErrorIs(t, images.Pin(d), os.ErrNotExist)
	removed, err := images.Remove(d, nothing)
	require.NoError(t, err)
	require.False(t, removed)
	images.Unpin(d)
}

func TestOpenImagesWhereItCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := store.OpenImages(file)
	require.ErrorContains(t, err, "cannot open image store "+file)
}

func TestCollectKeepsWhatIsKeptOrPinned(t *testing.T) {
	images, _ := openImages(t)
	kept, pinned, other := add(t, images, "kept"), add(t, images, "pinned"), add(t, images, "other")
	require.NoError(t, images.Pin(pinned))
	removed, err := images.Collect(func(d messages.Digest) bool { return d == kept })
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	require.FileExists(t, images.Path(kept))
	require.FileExists(t, images.Path(pinned))
	require.NoFileExists(t, images.Path(other))
}

func TestRemoveKeepsWhatIsNeeded(t *testing.T) {
	images, _ := openImages(t)
	d := add(t, images, "needed again")
	removed, err := images.Remove(d, func(other messages.Digest) bool { return other == d })
	require.NoError(t, err)
	require.False(t, removed)
	require.FileExists(t, images.Path(d))
}

func TestPinsAreCounted(t *testing.T) {
	images, _ := openImages(t)
	d, _, err := images.Add(strings.NewReader("image"), 10)
	require.NoError(t, err)
	require.NoError(t, images.Pin(d))
	for range 2 {
		removed, err := images.Remove(d, nothing)
		require.NoError(t, err)
		require.False(t, removed)
		images.Unpin(d)
	}
	images.Unpin(d) // one time too many
	removed, err := images.Remove(d, nothing)
	require.NoError(t, err)
	require.True(t, removed)
	require.NoFileExists(t, images.Path(d))
}

func TestPinsDoNotSurviveReopening(t *testing.T) {
	images, dir := openImages(t)
	_, _, err := images.Add(strings.NewReader("image"), 10)
	require.NoError(t, err)
	images, err = store.OpenImages(filepath.Dir(dir))
	require.NoError(t, err)
	removed, err := images.Collect(nothing)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
}

// Files that a crash has left are removed. Files that are not ours, or are being written, stay.
func TestCollectOfOtherFiles(t *testing.T) {
	images, dir := openImages(t)
	digest := strings.Repeat("ab", 32)
	others := []string{"README", digest[:62], digest + "00", strings.ToUpper(digest), digest + ".bak"}
	for _, file := range append(others, "tmp-123", "tmp-") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
	}
	var during []string
	_, _, err := images.Add(readerFunc(func([]byte) (int, error) {
		removed, err := images.Collect(nothing)
		require.NoError(t, err)
		require.Zero(t, removed)
		during = files(t, dir)
		return 0, io.EOF
	}), 10)
	require.NoError(t, err)
	require.Len(t, during, len(others)+1, "the image being written")
	_, err = images.Collect(func(messages.Digest) bool { return true })
	require.NoError(t, err)
	require.Len(t, files(t, dir), len(others)+1, "the image written")
	require.Subset(t, files(t, dir), others)
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

func TestCollectGoesOnAfterAnError(t *testing.T) {
	images, dir := openImages(t)
	other := add(t, images, "other")
	stuck := filepath.Join(dir, strings.Repeat("00", 32), "file")
	require.NoError(t, os.MkdirAll(filepath.Dir(stuck), 0o700))
	require.NoError(t, os.WriteFile(stuck, nil, 0o600))
	removed, err := images.Collect(nothing)
	require.ErrorContains(t, err, "cannot collect image: ")
	require.Equal(t, 1, removed)
	require.NoFileExists(t, images.Path(other))
}

// Whatever adds, pins and collects at the same time, an image with a pin is there and whole, and at
// the end no other one is.
func TestPinnedImagesStayWhileOthersAreCollected(t *testing.T) {
	images, dir := openImages(t)
	stop := make(chan struct{})
	var collector, users sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := images.Collect(nothing); err != nil {
				t.Error(err)
			}
		}
	})
	for user := range 4 {
		users.Go(func() {
			for i := range 50 {
				if err := use(images, fmt.Sprintf("image %d", (i+user)%3)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	close(stop)
	collector.Wait()
	_, err := images.Collect(nothing)
	require.NoError(t, err)
	require.Empty(t, files(t, dir))
}

func use(images *store.Images, content string) error {
	d, _, err := images.Add(strings.NewReader(content), 100)
	if err != nil {
		return err
	}
	defer images.Unpin(d)
	got, err := os.ReadFile(images.Path(d))
	if err != nil || string(got) != content {
		return fmt.Errorf("read %q, %w", got, err)
	}
	return nil
}

// Whatever is done one after the other, the store has what a map has.
func TestImagesAreAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(t.TempDir(), "db")
		require.NoError(rt, err)
		images, err := store.OpenImages(root)
		require.NoError(rt, err)
		pins, there := map[messages.Digest]int{}, map[messages.Digest]bool{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			content := []byte{rapid.Byte().Draw(rt, "image") % 3}
			d := messages.Digest(sha256.Sum256(content))
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				got, _, err := images.Add(bytes.NewReader(content), 1)
				require.NoError(rt, err)
				require.Equal(rt, d, got)
				pins[d]++
				there[d] = true
			case 1:
				require.Equal(rt, there[d], images.Pin(d) == nil)
				if there[d] {
					pins[d]++
				}
			case 2:
				images.Unpin(d)
				pins[d] = max(0, pins[d]-1)
			case 3:
				removed, err := images.Remove(d, nothing)
				require.NoError(rt, err)
				require.Equal(rt, there[d] && pins[d] == 0, removed)
				there[d] = there[d] && pins[d] > 0
			case 4:
				_, err := images.Collect(func(other messages.Digest) bool { return other == d })
				require.NoError(rt, err)
				for other := range there {
					there[other] = there[other] && (other == d || pins[other] > 0)
				}
			}
			for other, is := range there {
				_, err := os.Stat(images.Path(other))
				require.Equal(rt, is, err == nil)
			}
		}
	})
}

// TestUnpinWaitsForNoDisk: actors call it, and no actor may wait for a disk.
func TestUnpinWaitsForNoDisk(t *testing.T) {
	images, err := store.OpenImages(t.TempDir())
	require.NoError(t, err)
	d, err := images.AddBytes([]byte("image"))
	require.NoError(t, err)
	release := images.Busy()
	done := make(chan struct{})
	go func() {
		images.Unpin(d)
		close(done)
	}()
	select {
	case <-done:
		release()
	case <-time.After(10 * time.Second):
		release()
		require.FailNow(t, "Unpin waits")
	}
	removed, err := images.Remove(d, nothing)
	require.NoError(t, err)
	require.True(t, removed)
}

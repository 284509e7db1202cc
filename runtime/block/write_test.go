package block_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/messages"
)

// padded returns contents as they are in a device of size bytes.
func padded(contents []byte, size int) []byte {
	return append(bytes.Clone(contents), make([]byte, size-len(contents))...)
}

// occupied returns how many bytes a file takes on disk.
func occupied(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestCreateIsEmptySparseAndPrivate(t *testing.T) {
	d, _ := open(t)
	disk := name(t, "a:b:disk")
	old := unix.Umask(0)
	err := d.Create(t.Context(), disk, 3, nil)
	unix.Umask(old)
	require.NoError(t, err)
	info, err := os.Lstat(d.Path(disk))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.Zero(t, occupied(t, d.Path(disk)))
	same(t, make([]byte, 3*megabyte), read(t, d, disk))
}

func TestCreateWithContents(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 4097, megabyte} {
		d, path := open(t)
		contents := random(2, size)
		require.NoError(t, d.Create(t.Context(), name(t, "disk"), 1, bytes.NewReader(contents)))
		same(t, padded(contents, megabyte), read(t, d, name(t, "disk")))
		require.Equal(t, []string{":disk"}, files(t, path))
	}
}

func TestCreateOfAnImpossibleSizeLeavesNothing(t *testing.T) {
	d, path := open(t)
	for size, want := range map[int]string{
		0:                     "a size of 0 MB is not between 1 and 8796093022207",
		-5:                    "a size of -5 MB is not between 1 and 8796093022207",
		math.MinInt:           "a size of -9223372036854775808 MB is not",
		math.MaxInt64>>20 + 1: "a size of 8796093022208 MB is not between",
		1 << 44:               "a size of 17592186044416 MB is not between", // 0 bytes modulo 2^64
		math.MaxInt:           "a size of 9223372036854775807 MB is not between",
		math.MaxInt64 >> 20:   "file too large", // larger than a file system allows
	} {
		err := d.Create(t.Context(), name(t, "disk"), size, untouched{t})
		require.ErrorContains(t, err, "cannot create block device :disk: ")
		require.ErrorContains(t, err, want)
		require.Empty(t, files(t, path))
	}
	require.NoError(t, d.Create(t.Context(), name(t, "disk"), 1, nil))
}

func TestCreateOfANameThatIsTooLongLeavesNothing(t *testing.T) {
	d, path := open(t)
	long := name(t, strings.Repeat(strings.Repeat("x", 63)+":", 4)+"disk")
	require.ErrorIs(t, d.Create(t.Context(), long, 1, untouched{t}), unix.ENAMETOOLONG)
	require.Empty(t, files(t, path))
}

func TestCreateNeverReplaces(t *testing.T) {
	d, path, disk, old := created(t)
	require.ErrorIs(t, d.Create(t.Context(), disk, 1, untouched{t}), os.ErrExist)
	require.NoError(t, d.Remove(disk))
	// The device appears while the contents are read.
	err := d.Create(t.Context(), disk, 1, readerFunc(func([]byte) (int, error) {
		require.NoError(t, d.Create(t.Context(), disk, 2, bytes.NewReader(old)))
		return 0, io.EOF
	}))
	require.ErrorIs(t, err, os.ErrExist)
	same(t, old, read(t, d, disk))
	require.Equal(t, []string{":disk"}, files(t, path))
}

// Of several creates of one device at the same time, one succeeds.
func TestCreateOfOneDeviceByMany(t *testing.T) {
	d, path := open(t)
	disk := name(t, "disk")
	errs := make([]error, 8)
	var users sync.WaitGroup
	for i := range errs {
		users.Go(func() { errs[i] = d.Create(t.Context(), disk, i+1, nil) })
	}
	users.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, won)
			won = i
		} else {
			require.ErrorIs(t, err, os.ErrExist)
		}
	}
	require.NotEqual(t, -1, won)
	require.Len(t, read(t, d, disk), (won+1)*megabyte)
	require.Equal(t, []string{":disk"}, files(t, path))
}

func TestSetPadsWithZeros(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 256 << 10, 256<<10 + 1, 2*megabyte - 1, 2 * megabyte} {
		d, path, disk, _ := created(t)
		require.NoError(t, os.Chmod(d.Path(disk), 0o644))
		contents := random(2, size)
		require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(contents)))
		same(t, padded(contents, 2*megabyte), read(t, d, disk))
		info, err := os.Lstat(d.Path(disk))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		require.Equal(t, []string{":disk"}, files(t, path))
	}
}

// Contents with any holes, in pieces of any size, are read back as they were set.
func TestSetIsReadBack(t *testing.T) {
	d, path := open(t)
	disk := name(t, "disk")
	require.NoError(t, d.Create(t.Context(), disk, 1, nil))
	rapid.Check(t, func(rt *rapid.T) {
		contents := withHoles().Draw(rt, "contents")
		pieces := rapid.SliceOfN(rapid.IntRange(1, 300<<10), 1, 5).Draw(rt, "pieces")
		require.NoError(rt, d.Set(t.Context(), disk, &inPieces{contents, pieces}))
		same(rt, padded(contents, megabyte), read(rt, d, disk))
		require.Equal(rt, []string{":disk"}, files(rt, path))
	})
}

// withHoles draws contents for a megabyte: data and zeros whose lengths are near to pages, or are
// not.
func withHoles() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		contents := []byte{}
		for range rapid.IntRange(0, 20).Draw(t, "runs") {
			length := rapid.IntRange(0, 40).Draw(t, "pages")*4096 + rapid.IntRange(-1, 1).Draw(t, "bytes")
			if rapid.IntRange(0, 4).Draw(t, "is odd") == 0 {
				length = rapid.IntRange(0, 5000).Draw(t, "length")
			}
			part := make([]byte, max(0, length))
			if rapid.Bool().Draw(t, "is data") {
				part = random(rapid.Byte().Draw(t, "seed"), len(part))
			}
			contents = append(contents, part...)
		}
		return contents[:min(len(contents), megabyte)]
	})
}

// inPieces reads data in pieces of these lengths, over and over.
type inPieces struct {
	data   []byte
	pieces []int
}

func (i *inPieces) Read(b []byte) (int, error) {
	if len(i.data) == 0 {
		return 0, io.EOF
	}
	piece := i.pieces[0]
	i.pieces = append(i.pieces[1:], piece)
	n := copy(b[:min(len(b), piece)], i.data)
	i.data = i.data[n:]
	return n, nil
}

func TestZerosTakeNoRoom(t *testing.T) {
	d, _, disk, _ := created(t)
	contents := make([]byte, 2*megabyte)
	copy(contents[4096:], random(2, 4096))
	contents[megabyte+77] = 1
	require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(contents)))
	same(t, contents, read(t, d, disk))
	require.LessOrEqual(t, occupied(t, d.Path(disk)), int64(16<<10))
	require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(make([]byte, 2*megabyte))))
	require.Zero(t, occupied(t, d.Path(disk)))
}

func TestSetsOfTwoDevicesAtTheSameTime(t *testing.T) {
	d, path := open(t)
	names := []messages.Name{name(t, "one"), name(t, "a:two")}
	errs := make([]error, len(names))
	var users sync.WaitGroup
	for i, n := range names {
		require.NoError(t, d.Create(t.Context(), n, i+1, nil))
		users.Go(func() {
			for round := range 10 {
				contents := random(byte(10*i+round), (i+1)*megabyte)
				if errs[i] = d.Set(t.Context(), n, bytes.NewReader(contents)); errs[i] != nil {
					return
				}
				if !bytes.Equal(contents, read(t, d, n)) {
					errs[i] = errors.New("other contents")
					return
				}
			}
		})
	}
	users.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, []string{":one", "a:two"}, files(t, path))
}

// A unikernel that has the device open keeps its old file.
func TestSetLeavesAnOpenFileAlone(t *testing.T) {
	d, _, disk, old := created(t)
	r, err := d.Reader(disk, 0)
	require.NoError(t, err)
	require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(nil)))
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	same(t, old, got)
}

package block_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"albatross/runtime/block"
	"albatross/runtime/compress"
)

func TestReaderAtEachLevel(t *testing.T) {
	d, _, disk, _ := created(t)
	contents := padded(bytes.Repeat([]byte("what can be compressed "), 20000), 2*megabyte)
	require.NoError(t, d.Set(t.Context(), disk, bytes.NewReader(contents)))
	for level := range 10 {
		r, err := d.Reader(disk, level)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		n, err := r.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "after the end")
		require.Zero(t, n)
		require.NoError(t, r.Close())
		if level > 0 {
			require.Less(t, len(got), len(contents)/10)
			got = inflate(t, got)
		}
		same(t, contents, got)
	}
}

// inflate does not use the code under test.
func inflate(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zlib.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	out, err := io.ReadAll(z)
	require.NoError(t, err)
	return out
}

func TestReaderOfALevelThatIsNone(t *testing.T) {
	d, _, disk, _ := created(t)
	for _, level := range []int{-1, -2, -3, 10, math.MaxInt, math.MinInt} {
		_, err := d.Reader(disk, level)
		require.ErrorContains(t, err, "cannot read block device :disk: a compression level of ")
	}
}

// A dump that ended too early would look like a whole one.
func TestReaderOfAFileThatGetsShorter(t *testing.T) {
	for _, level := range []int{0, 6} {
		d, _, disk, _ := created(t)
		r, err := d.Reader(disk, level)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(d.Path(disk), megabyte))
		_, err = io.ReadAll(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorContains(t, err, "cannot read block device :disk: ")
		require.NoError(t, r.Close())
	}
}

func TestReaderStopsAtTheSize(t *testing.T) {
	d, _, disk, old := created(t)
	r, err := d.Reader(disk, 0)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(d.Path(disk), 3*megabyte))
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	same(t, old, got)
}

func deflate(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, err := z.Write(data)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

func TestSetOfACompressedStream(t *testing.T) {
	d, _, disk, _ := created(t)
	for _, size := range []int{0, 1, 70000, 2 * megabyte} {
		contents := random(3, size)
		stream := deflate(t, contents)
		for _, in := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream))} {
			require.NoError(t, d.Set(t.Context(), disk, compress.Inflate(in, "contents")))
			same(t, padded(contents, 2*megabyte), read(t, d, disk))
		}
	}
}

func TestCompressedStreamThatIsBroken(t *testing.T) {
	d, path, disk, old := created(t)
	stream := deflate(t, random(3, 300<<10))
	flipped := bytes.Clone(stream)
	flipped[len(flipped)-1] ^= 1
	lost := errors.New("connection lost")
	for kind, c := range map[string]struct {
		stream io.Reader
		want   string
	}{
		"nothing":      {strings.NewReader(""), "cannot decompress contents: unexpected EOF"},
		"text":         {strings.NewReader("this is not a zlib stream"), "cannot decompress contents: zlib: invalid header"},
		"header only":  {bytes.NewReader(stream[:2]), "cannot decompress contents: unexpected EOF"},
		"half":         {bytes.NewReader(stream[:len(stream)/2]), "cannot decompress contents: unexpected EOF"},
		"no checksum":  {bytes.NewReader(stream[:len(stream)-4]), "cannot decompress contents: unexpected EOF"},
		"last byte":    {bytes.NewReader(stream[:len(stream)-1]), "cannot decompress contents: unexpected EOF"},
		"bad checksum": {bytes.NewReader(flipped), "cannot decompress contents: zlib: invalid checksum"},
		"more behind":  {io.MultiReader(bytes.NewReader(stream), strings.NewReader("x")), "cannot decompress contents: something comes behind its end"},
		"lost at once": {iotest.ErrReader(lost), "connection lost"},
		"lost":         {io.MultiReader(bytes.NewReader(stream[:5000]), iotest.ErrReader(lost)), "connection lost"},
		"cut off":      {io.MultiReader(bytes.NewReader(stream[:5000]), iotest.ErrReader(io.ErrUnexpectedEOF)), "unexpected EOF"},
		"lost behind":  {io.MultiReader(bytes.NewReader(stream), iotest.ErrReader(lost)), "connection lost"},
	} {
		t.Run(kind, func(t *testing.T) {
			contents := compress.Inflate(c.stream, "contents")
			require.EqualError(t, d.Set(t.Context(), disk, contents), "cannot set block device :disk: "+c.want)
			_, err := contents.Read(make([]byte, 10))
			require.EqualError(t, err, c.want, "it stays so")
			require.Equal(t, []string{":disk"}, files(t, path))
			same(t, old, read(t, d, disk))
		})
	}
}

// A small stream that becomes large is read no further than what fits.
func TestCompressedStreamThatBecomesTooMuch(t *testing.T) {
	d, path, disk, old := created(t)
	bomb := bytes.NewReader(deflate(t, make([]byte, 8*megabyte)))
	all := bomb.Len()
	require.ErrorIs(t, d.Set(t.Context(), disk, compress.Inflate(iotest.OneByteReader(bomb), "contents")), block.ErrTooLarge)
	require.Greater(t, bomb.Len(), all/2)
	require.Equal(t, []string{":disk"}, files(t, path))
	same(t, old, read(t, d, disk))
}

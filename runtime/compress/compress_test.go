package compress_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/runtime/compress"
)

// TestDeflateAndInflate: what is deflated and inflated again is the same, in
// whatever pieces it comes.
func TestDeflateAndInflate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "piece")
		contents := bytes.Repeat(piece, rapid.IntRange(0, 300).Draw(t, "times"))
		level := rapid.IntRange(1, compress.Most).Draw(t, "level")
		d, err := compress.Deflate(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(contents))), level)
		require.NoError(t, err)
		most := compress.Bound(int64(len(contents)), level)
		packed, err := compress.ReadAll(d, most)
		require.NoError(t, err)
		require.LessOrEqual(t, int64(len(packed)), most)

		got, err := inflated(iotest.HalfReader(bytes.NewReader(packed)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(contents, got))
	})
}

func TestDeflateTellsOfItsSource(t *testing.T) {
	bad := errors.New("bad sector")
	d, err := compress.Deflate(io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(bad)), 9)
	require.NoError(t, err)
	_, err = io.ReadAll(d)
	require.Equal(t, bad, err)
}

func TestDeflateAtALevelThatIsNone(t *testing.T) {
	_, err := compress.Deflate(bytes.NewReader(nil), compress.Most+1)
	require.ErrorContains(t, err, "internal error: cannot compress at level 10")
}

// TestDeflateNeedsLittleMemory, however much goes through and however badly it is
// compressed.
func TestDeflateNeedsLittleMemory(t *testing.T) {
	const size, budget = 16 << 20, 3 << 20 // zlib itself takes almost 2
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, err := compress.Deflate(io.LimitReader(noise(), size), 9)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, d)
	require.NoError(t, err)
	require.Greater(t, n, int64(size))
	runtime.ReadMemStats(&after)
	require.Less(t, int(after.TotalAlloc-before.TotalAlloc), budget)
}

// noise yields bytes that cannot be compressed.
func noise() io.Reader { return rand.NewChaCha8([32]byte{}) }

func TestInflateWhatIsBroken(t *testing.T) {
	whole := deflated(t, []byte("some contents, some contents"))
	damaged := new(compress.DamagedError)
	for n := range whole { // every beginning of it
		_, err := inflated(bytes.NewReader(whole[:n]))
		require.ErrorAs(t, err, &damaged, "%d bytes", n)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	_, err := inflated(bytes.NewReader(append(bytes.Clone(whole), 0)))
	require.ErrorAs(t, err, &damaged)
	require.EqualError(t, err, "cannot decompress it: something comes behind its end")

	// What is wrong with the source is told as that, wherever it is.
	gone := errors.New("connection lost")
	for n := range len(whole) + 1 {
		_, err := inflated(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(gone)))
		require.Equal(t, gone, err, "after %d bytes", n)
	}
}

// TestInflateReadsNoFurtherThanItIsRead: a small stream that becomes much costs
// nothing that nobody has asked for.
func TestInflateReadsNoFurtherThanItIsRead(t *testing.T) {
	bomb := bytes.NewReader(deflated(t, make([]byte, 64<<20)))
	all := bomb.Len()
	in := compress.Inflate(iotest.OneByteReader(bomb), "it")
	require.Equal(t, all, bomb.Len(), "it may have to be waited for")
	_, err := io.ReadFull(in, make([]byte, 1<<20))
	require.NoError(t, err)
	require.Greater(t, bomb.Len(), all/2)
}

func inflated(r io.Reader) ([]byte, error) { return io.ReadAll(compress.Inflate(r, "it")) }

// deflated does not use what is tested.
func deflated(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

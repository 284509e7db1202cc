package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zlib"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/client"
)

// TestDeflateAndInflate: what is deflated and inflated again is the same, in
// whatever pieces it comes.
func TestDeflateAndInflate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "piece")
		contents := bytes.Repeat(piece, rapid.IntRange(0, 300).Draw(t, "times"))
		level := rapid.IntRange(1, 9).Draw(t, "level")
		d, err := newDeflater(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(contents))), level)
		require.NoError(t, err)
		packed, err := io.ReadAll(d)
		require.NoError(t, err)
		require.LessOrEqual(t, len(packed), len(contents)+len(contents)/1000+64)

		i, err := inflate(iotest.HalfReader(bytes.NewReader(packed)))
		require.NoError(t, err)
		got, err := io.ReadAll(i)
		require.NoError(t, err)
		require.True(t, bytes.Equal(contents, got))
	})
}

func TestDeflaterTellsOfItsSource(t *testing.T) {
	bad := errors.New("bad sector")
	d, err := newDeflater(io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(bad)), 9)
	require.NoError(t, err)
	_, err = io.ReadAll(d)
	require.Equal(t, bad, err)
}

// TestDeflaterNeedsLittleMemory, however much goes through and however badly it
// is compressed.
func TestDeflaterNeedsLittleMemory(t *testing.T) {
	const size, budget = 16 << 20, 3 << 20 // zlib itself takes almost 2
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, err := newDeflater(io.LimitReader(noise(1), size), 9)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, d)
	require.NoError(t, err)
	require.Greater(t, n, int64(size))
	runtime.ReadMemStats(&after)
	require.Less(t, int(after.TotalAlloc-before.TotalAlloc), budget)
}

// noise yields bytes that cannot be compressed.
type xorshift struct{ state uint64 }

func noise(seed uint64) io.Reader { return &xorshift{seed} }

func (x *xorshift) Read(b []byte) (int, error) {
	for i := range b {
		x.state ^= x.state << 13
		x.state ^= x.state >> 7
		x.state ^= x.state << 17
		b[i] = byte(x.state)
	}
	return len(b), nil
}

func TestInflateWhatIsBroken(t *testing.T) {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	io.WriteString(w, "some contents, some contents")
	require.NoError(t, w.Close())
	whole := out.Bytes()

	for n := range whole { // every beginning of it
		_, err := inflated(bytes.NewReader(whole[:n]))
		require.ErrorIs(t, err, errInflate, "%d bytes", n)
	}
	_, err := inflated(bytes.NewReader(append(bytes.Clone(whole), 0)))
	require.ErrorIs(t, err, errInflate)
	require.ErrorContains(t, err, "something comes behind its end")

	// What is wrong with the connection is told as that, wherever it is.
	gone := &client.ProtocolError{Peer: "p", Err: io.ErrUnexpectedEOF}
	for n := range len(whole) + 1 {
		_, err := inflated(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(gone)))
		require.Equal(t, gone, err, "after %d bytes", n)
	}
}

func inflated(r io.Reader) ([]byte, error) {
	i, err := inflate(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(i)
}

// BenchmarkCompress compresses 9 MB of a program, as an image is, at every level, and
// tells what becomes of them. The default from afar was chosen by it.
func BenchmarkCompress(b *testing.B) {
	self, err := os.Executable()
	require.NoError(b, err)
	program, err := os.ReadFile(self)
	require.NoError(b, err)
	program = program[:min(len(program), 9<<20)]
	for level := 1; level <= 9; level++ {
		b.Run(fmt.Sprint(level), func(b *testing.B) {
			b.SetBytes(int64(len(program)))
			var size int
			for b.Loop() {
				packed, err := compress(program, level)
				require.NoError(b, err)
				size = len(packed)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// TestLevels: on this machine nothing is compressed, and from afar as well as costs
// little time.
func TestLevels(t *testing.T) {
	here, far, request := app{}, app{destination: destination{address: "x:1"}}, app{destination: destination{csr: true}}
	none, nine := messages.Option[int]{}, messages.Some(9)
	require.Equal(t, []int{0, 6, 6}, []int{here.compression(none), far.compression(none), request.compression(none)})
	require.Equal(t, []int{9, 9, 9}, []int{here.compression(nine), far.compression(nine), request.compression(nine)})
}

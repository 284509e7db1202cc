package block_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/runtime/block"
)

// BenchmarkSet measures a Set. The metric "x-copy" shows how many times as long it takes as to copy
// the same bytes over those of a file and to fsync it.
func BenchmarkSet(b *testing.B) {
	const size = 64
	half := random(1, size*megabyte)
	for at := 0; at < len(half); at += 2 * megabyte {
		clear(half[at : at+megabyte])
	}
	for _, c := range []struct {
		kind     string
		contents []byte
	}{
		{"data", random(1, size*megabyte)},
		{"half", half},
		{"zeros", make([]byte, size*megabyte)},
	} {
		b.Run(c.kind, func(b *testing.B) {
			d, err := block.Open(b.TempDir())
			require.NoError(b, err)
			disk := name(b, "disk")
			require.NoError(b, d.Create(b.Context(), disk, size, nil))
			b.SetBytes(size * megabyte)
			copied := filepath.Join(b.TempDir(), "copy")
			var set, plain time.Duration
			for b.Loop() {
				start := time.Now()
				require.NoError(b, d.Set(b.Context(), disk, bytes.NewReader(c.contents)))
				set += time.Since(start)
				b.StopTimer()
				plain += copyPlainly(b, copied, c.contents)
				b.StartTimer()
			}
			b.ReportMetric(float64(set)/float64(plain), "x-copy")
		})
	}
}

// copyPlainly does the work that a Set is compared with.
func copyPlainly(b *testing.B, path string, contents []byte) time.Duration {
	b.Helper()
	start := time.Now()
	f, err := os.Create(path)
	require.NoError(b, err)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{bytes.NewReader(contents)}, make([]byte, 256<<10))
	require.NoError(b, err)
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
	return time.Since(start)
}

// BenchmarkReader reads a device that is half full, at the levels that matter.
func BenchmarkReader(b *testing.B) {
	d, err := block.Open(b.TempDir())
	require.NoError(b, err)
	disk := name(b, "disk")
	require.NoError(b, d.Create(b.Context(), disk, 32, bytes.NewReader(random(1, 16*megabyte))))
	for kind, level := range map[string]int{"plain": 0, "fastest": 1, "smallest": 9} {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(32 * megabyte)
			for b.Loop() {
				r, err := d.Reader(disk, level)
				require.NoError(b, err)
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 256<<10))
				require.NoError(b, err)
				require.NoError(b, r.Close())
			}
		})
	}
}

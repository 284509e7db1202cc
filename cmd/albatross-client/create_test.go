package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// BenchmarkCompress compresses 9 MB of a program, such as an image, at every level, and reports the
// size and the time. The default for remote commands was chosen by it.
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
				packed, err := compressed(program, level)
				require.NoError(b, err)
				size = len(packed)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// TestLevels: on this machine nothing is compressed. Remote commands use the best level that costs
// little time.
func TestLevels(t *testing.T) {
	here, far, request := daemon{}, daemon{destination: destination{address: "x:1"}}, daemon{destination: destination{csr: true}}
	none, nine := messages.Option[int]{}, messages.Some(9)
	require.Equal(t, []int{0, 6, 6}, []int{here.compression(none), far.compression(none), request.compression(none)})
	require.Equal(t, []int{9, 9, 9}, []int{here.compression(nine), far.compression(nine), request.compression(nine)})
}

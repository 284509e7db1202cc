package tender_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/fifo"
	"albatross/runtime/tender"
	"albatross/test/programs"
)

// How long a start takes until the program in the place of the tender has run
// to its end, through the gate and without: the difference is the price of the
// gate. The launcher is albatross-tender as it is built for use.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	require.NoError(b, programs.Build(dir, "albatross-tender"))
	launcher := filepath.Join(dir, "albatross-tender")
	path := filepath.Join(b.TempDir(), ":c")
	require.NoError(b, fifo.Create(path))
	console, err := fifo.OpenWriter(path)
	require.NoError(b, err)
	defer func() { _ = console.Close() }()
	command := tender.Command{Launcher: []string{launcher, "launch"}, CPUs: []int{0}, Program: "/bin/true", Output: console}

	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, exec.Command(command.Program).Run())
		}
	})
	b.Run("gated", func(b *testing.B) {
		for b.Loop() {
			end(b, released(b, command))
		}
	})
	b.Run("launch", func(b *testing.B) { // what the daemon waits for before it writes the record
		for b.Loop() {
			g, err := tender.Launch(b.Context(), command)
			require.NoError(b, err)
			b.StopTimer()
			require.NoError(b, g.Abort())
			b.StartTimer()
		}
	})
	b.Run("launch and release", func(b *testing.B) {
		for b.Loop() {
			g := released(b, command)
			b.StopTimer()
			end(b, g)
			b.StartTimer()
		}
	})
}

func released(b *testing.B, c tender.Command) *tender.Gated {
	b.Helper()
	g, err := tender.Launch(b.Context(), c)
	require.NoError(b, err)
	require.NoError(b, g.Release(b.Context()))
	return g
}

func end(b *testing.B, g *tender.Gated) {
	b.Helper()
	_, err := g.Handle().Wait(b.Context())
	require.NoError(b, err)
	require.NoError(b, g.Handle().Close())
}

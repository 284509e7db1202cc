package cgroup

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

var limited = Limits{Memory: 256 << 20, CPUs: []int{0}}

// withOthers runs a benchmark alone, and beside 500 other cgroups.
func withOthers(b *testing.B, run func(b *testing.B, tree *Tree)) {
	for _, others := range []int{0, 500} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			tree := newTree(b)
			for i := range others {
				require.NoError(b, tree.Create(parse(b, fmt.Sprintf("other:u%d", i)), limited))
			}
			b.ResetTimer()
			run(b, tree)
		})
	}
}

func BenchmarkCreate(b *testing.B) {
	withOthers(b, func(b *testing.B, tree *Tree) {
		name := parse(b, "hello")
		for range b.N {
			require.NoError(b, tree.Create(name, limited))
			b.StopTimer()
			require.NoError(b, tree.Remove(name))
			b.StartTimer()
		}
	})
}

// BenchmarkJoin moves the process to each cgroup in turn: to join its own again costs less.
func BenchmarkJoin(b *testing.B) {
	withOthers(b, func(b *testing.B, tree *Tree) {
		names := []messages.Name{parse(b, "one"), parse(b, "another")}
		for _, name := range names {
			require.NoError(b, tree.Create(name, limited))
		}
		w := start(b)
		b.ResetTimer()
		for i := range b.N {
			require.NoError(b, tree.Join(names[i%2], w.pid))
		}
		b.StopTimer()
		w.kill()
		w.reap()
	})
}

func BenchmarkRemove(b *testing.B) {
	withOthers(b, func(b *testing.B, tree *Tree) {
		name := parse(b, "hello")
		for range b.N {
			b.StopTimer()
			require.NoError(b, tree.Create(name, limited))
			b.StartTimer()
			require.NoError(b, tree.Remove(name))
		}
	})
}

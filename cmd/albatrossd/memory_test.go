package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/sockets/wire"
)

func TestDivide(t *testing.T) {
	const mb = 1 << 20
	for memory, want := range map[uint64]budget{
		64 << 30:  {1 << 30, wire.MaxFrame, 2560*mb + otherMemory},
		1536 * mb: {384 * mb, 384 * mb, 960*mb + otherMemory},
		128 * mb:  {64 * mb, 64 * mb, 160*mb + otherMemory}, // such a machine has too little memory
	} {
		require.Equal(t, want, divide(memory))
	}
}

// TestMemoryIsReturned once after work, however long that has taken.
func TestMemoryIsReturned(t *testing.T) {
	const mb = 1 << 20
	var r rest
	for i, step := range []struct {
		allocated uint64
		returned  bool
	}{
		{5 * mb, false}, {5 * mb, false}, // it has started, which is little
		{9 * mb, false}, {10 * mb, true}, {11 * mb, false},
		{50 * mb, false}, {90 * mb, false}, {91 * mb, true}, {92 * mb, false},
		{93 * mb, false}, {94 * mb, false}, {95 * mb, false}, {96 * mb, false}, {97 * mb, false}, {98 * mb, false}, {99 * mb, true},
	} {
		require.Equal(t, step.returned, r.begins(step.allocated), i)
	}
}

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

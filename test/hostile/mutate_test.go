package hostile_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/hostile"
)

// TestMutate: nearly all results differ from what they were made from, which stays as it was, and
// from each other.
func TestMutate(t *testing.T) {
	list := [][]byte{bytes.Repeat([]byte("abc"), 50), bytes.Repeat([]byte{3}, 200), {7}}
	before := [][]byte{bytes.Clone(list[0]), bytes.Clone(list[1]), {7}}
	random := rand.New(rand.NewPCG(1, 2))
	different := map[string]bool{}
	const many = 3000
	for range many {
		different[string(hostile.Mutate(random, list))] = true
	}
	require.Equal(t, before, list)
	require.Greater(t, len(different), many/2)
}

package image_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/image"
	"albatross/test/guests"
	"albatross/test/hostile"
)

// TestHostileImages: changes of images that run are refused as images, or are sane;
// little is read of either.
func TestHostileImages(t *testing.T) {
	var images [][]byte
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			images = append(images, guests.Image(name, target))
		}
	}
	whole, _ := withSections()
	images = append(images, whole)
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	n, sane := hostile.Choose(3_000, 60_000), 0
	for range n {
		b := hostile.MutateWhere(random, images, telling(random))
		c := &counting{r: bytes.NewReader(b)}
		i, err := image.Read(c, int64(len(b)))
		require.LessOrEqual(t, c.bytes, maxRead)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "cannot read image: "), err.Error())
			continue
		}
		requireSane(t, i, int64(len(b)))
		sane++
	}
	require.NotZero(t, sane)
	require.NotEqual(t, n, sane)
	hostile.Figure(t, "mutated images that were read", n)
}

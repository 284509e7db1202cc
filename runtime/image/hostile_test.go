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
	n, sane := hostile.Choose(5_000, 60_000), 0
	for range n {
		b := hostile.Mutate(random, images)
		if random.IntN(2) == 0 { // most of an image is no header
			b = withOtherHeaders(random, images)
		}
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
	t.Logf("%d of them may run", sane)
}

// withOtherHeaders is one of images with changes of its headers alone.
func withOtherHeaders(random *rand.Rand, images [][]byte) []byte {
	b := images[random.IntN(len(images))]
	const size = 64 + 56*6 // what the guests have
	return append(hostile.Mutate(random, [][]byte{b[:size]}), b[size:]...)
}

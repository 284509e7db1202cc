package image_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/runtime/image"
)

// TestParts: every byte of the contents is in exactly one part, at its place in memory and in
// the file. What can be mapped are pages of both.
func TestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := image.Segment{
			Address:  rapid.Uint64Range(0x100000, 0x110000).Draw(t, "address"),
			FileSize: rapid.Uint64Range(1, 5*image.PageSize).Draw(t, "size"),
		}
		s.Offset = s.Address%image.PageSize + image.PageSize
		alike := rapid.Bool().Draw(t, "alike")
		if !alike {
			s.Offset += rapid.Uint64Range(1, image.PageSize-1).Draw(t, "shift")
		}
		_, whole := s.Parts(false)
		require.Equal(t, []image.Part{{Address: s.Address, Offset: s.Offset, Size: s.FileSize}}, whole)
		mapped, copied := s.Parts(true)
		require.Zero(t, (mapped.Address|mapped.Offset|mapped.Size)%image.PageSize)
		require.True(t, alike || mapped.Size == 0)

		times := make([]int, s.FileSize)
		for _, p := range append(copied, mapped) {
			for n := range p.Size {
				require.Equal(t, s.Offset+p.Address-s.Address, p.Offset)
				times[p.Address-s.Address+n]++
			}
		}
		for at, n := range times {
			require.Equal(t, 1, n, "byte %d", at)
		}
		for _, p := range copied {
			require.NotZero(t, p.Size)
			page := (p.Address + image.PageSize - 1) / image.PageSize * image.PageSize
			require.True(t, !alike || page+image.PageSize > p.Address+p.Size, "the page at %#x could be mapped", page)
		}
	})
}

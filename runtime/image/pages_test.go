package image

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUsePages: kernels for arm64 have pages of 4, 16, or 64 KB, and segments must not share one.
func TestUsePages(t *testing.T) {
	text := Segment{Address: 0x100000, MemorySize: 0x1234, Offset: 0x1000, FileSize: 0x1234, Protection: Readable | Executable}
	near := Segment{Address: 0x104000, MemorySize: 0x10, Offset: 0x5000, FileSize: 0x10, Protection: Readable | Writable}
	far := Segment{Address: 0x110000, MemorySize: 0x10, Offset: 0x11000, FileSize: 0x10, Protection: Readable | Writable}
	i := &Image{Segments: []Segment{text, near}, End: 0x105000}
	require.NoError(t, i.usePages(4<<10))
	require.EqualValues(t, 0x105000, i.End)
	require.NoError(t, i.usePages(16<<10))
	require.EqualValues(t, 0x108000, i.End)
	require.EqualValues(t, 0x104000, i.Segments[0].EndPage())
	require.EqualError(t, i.usePages(64<<10),
		"cannot run image: two of its segments are in one page of the host, which has 64 KB: build it with -z max-page-size=65536")
	i = &Image{Segments: []Segment{text, far}, End: 0x111000}
	require.NoError(t, i.usePages(64<<10))
	require.EqualValues(t, 0x110000, i.Segments[0].EndPage())
	require.EqualValues(t, 0x120000, i.End)
	mapped, copied := i.Segments[1].Parts(true)
	require.Zero(t, mapped, "the file has it at another place in a page")
	require.Len(t, copied, 1)
}

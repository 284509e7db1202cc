package image_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
)

// withSections is a guest as a linker leaves it: with section headers behind all
// else, one of a section in the file and one of zeroed memory far away.
func withSections() (b []byte, section int) {
	b = bytes.Clone(guests.Image("hello", "spt"))
	section = len(b)
	b = append(b, "what is in the section"...)
	headers := len(b)
	b = append(b, make([]byte, 3*64)...)
	le := binary.LittleEndian
	put := func(i int, kind uint32, offset, size uint64) {
		h := b[headers+64*i:]
		le.PutUint32(h[4:], kind)
		le.PutUint64(h[24:], offset)
		le.PutUint64(h[32:], size)
	}
	put(1, 1, uint64(section), uint64(headers-section))
	put(2, 8, 1<<40, 1<<40)
	le.PutUint64(b[40:], uint64(headers))
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], 3)
	return b, section
}

// TestAnImageThatWasCutShort is refused, also where what is missing is not needed
// to run it.
func TestAnImageThatWasCutShort(t *testing.T) {
	whole, section := withSections()
	_, err := read(whole)
	require.NoError(t, err)
	for size := section; size < len(whole); size++ {
		_, err := read(whole[:size])
		require.ErrorContains(t, err, "cannot read image: truncated: section header table is outside the file", size)
	}
}

func TestSectionsOutsideTheFile(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(b []byte, headers int)
		want   string
	}{
		"a section": {func(b []byte, headers int) { binary.LittleEndian.PutUint64(b[headers+64+32:], 1<<20) },
			"truncated: section 1 is outside the file"},
		"a section that wraps": {func(b []byte, headers int) { binary.LittleEndian.PutUint64(b[headers+64+24:], 1<<64-1) },
			"truncated: section 1 is outside the file"},
		"a table that wraps": {func(b []byte, _ int) { binary.LittleEndian.PutUint64(b[40:], 1<<64-64) },
			"truncated: section header table is outside the file"},
		"more sections than we read": {func(b []byte, _ int) { binary.LittleEndian.PutUint16(b[60:], 1<<16-1) },
			"truncated: section header table is outside the file"},
		"headers of another size": {func(b []byte, _ int) { binary.LittleEndian.PutUint16(b[58:], 40) },
			"unexpected size of section headers"},
		"a segment that is not loaded": {func(b []byte, _ int) { set64(program(stack, fileSize), 1<<20)(b) },
			"truncated: segment 5 is outside the file"},
	} {
		whole, _ := withSections()
		tc.damage(whole, len(whole)-3*64)
		_, err := read(whole)
		require.ErrorContains(t, err, tc.want, name)
	}
}

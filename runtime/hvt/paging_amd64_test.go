package hvt

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/runtime/image"
)

// walk looks an address up as the CPU does, and returns the entry of its page, or 0.
func walk(m *memory, address uint64) (entry, physical uint64) {
	const frame = 1<<51 - 1<<12
	at := uint64(pml4Base)
	for level := 3; level >= 0; level-- {
		index := address >> (12 + 9*level) & 511
		entry = binary.LittleEndian.Uint64(m.all[at+8*index:])
		size := uint64(1) << (12 + 9*level)
		switch {
		case entry&present == 0:
			return 0, 0
		case level == 0 || level == 1 && entry&large != 0:
			return entry, entry&frame + address&(size-1)
		}
		at = entry & frame
	}
	return 0, 0
}

// requireMuchMemory skips a test where the machine does not promise the memory of large guests.
func requireMuchMemory(t *testing.T) {
	t.Helper()
	m, err := newMemory(8 << 30)
	if err != nil {
		t.Skipf("this machine does not promise as much memory as the guests of this test have: %v", err)
	}
	require.NoError(t, m.close())
}

// TestPageTables: each page is mapped to itself with the right protection, wherever the
// segments are.
func TestPageTables(t *testing.T) {
	requireMuchMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		i, at := &image.Image{Target: image.HVT}, uint64(imageBase)
		for range rapid.IntRange(1, 64).Draw(t, "segments") {
			at += rapid.Uint64Range(0, 600).Draw(t, "gap") * image.PageSize
			size := rapid.Uint64Range(1, 2000*image.PageSize).Draw(t, "size")
			i.Segments = append(i.Segments, image.Segment{
				Address: at, MemorySize: size, FileSize: size,
				Protection: rapid.SampledFrom([]image.Protection{4, 5, 6}).Draw(t, "protection"),
			})
			at = i.Segments[len(i.Segments)-1].EndPage()
		}
		i.End = at
		rest := rapid.OneOf(rapid.Uint64Range(1, 8), rapid.Uint64Range(1, 6<<10)).Draw(t, "rest")
		size := i.Usable(at + rest<<20 + 2<<20)
		m, err := newMemory(size)
		require.NoError(t, err)
		defer func() { require.NoError(t, m.close()) }()
		m.writePageTables(i)

		pages := []uint64{0, 0xf000, bootInfoBase, bootInfoEnd - 1, bootInfoEnd, imageBase - 1, imageBase, size - 1, size, 1 << 32, 1 << 39, lowStackEnd - 1, lowStackEnd}
		for _, s := range i.Segments {
			pages = append(pages, s.FirstPage()-1, s.FirstPage(), s.EndPage()-1, s.EndPage())
		}
		for range 20 {
			pages = append(pages, rapid.Uint64Range(0, size-1).Draw(t, "address"))
		}
		for _, address := range pages {
			requireMapped(t, &m, i, address)
		}
	})
}

func requireMapped(t *rapid.T, m *memory, i *image.Image, address uint64) {
	entry, physical := walk(m, address)
	low := uint64(imageBase) // the guest may write from here on
	if m.size() > 1<<32 {
		low = lowStackEnd
	}
	if address < bootInfoBase || address >= bootInfoEnd && address < low || address >= m.size() {
		require.Zero(t, entry, "%#x", address)
		return
	}
	require.Equal(t, address, physical)
	code := false
	for _, s := range i.Segments {
		code = code || s.Protection&image.Executable != 0 && s.FirstPage() <= address && address < s.EndPage()
	}
	require.Equal(t, code, entry&noExecute == 0, "%#x", address)
	require.Equal(t, address >= low, entry&writeable != 0, "%#x", address)
}

// TestTheTablesOfAnyImageFit behind memory: 64 segments of code with gaps between them.
func TestTheTablesOfAnyImageFit(t *testing.T) {
	i := &image.Image{Target: image.HVT}
	for n := range uint64(64) {
		i.Segments = append(i.Segments, image.Segment{
			Address: imageBase + (3*n+1)*largePage, MemorySize: 2 * largePage, FileSize: 1, Protection: 5,
		})
	}
	m, err := newMemory(512 << 20)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.close()) }()
	m.writePageTables(i)
	last := m.all[len(m.all)-image.PageSize:]
	require.False(t, zero(last), "these are as many as there can be")
	require.Zero(t, m.bytes[imageBase])
}

// TestTheStackIsWhereHypercallsReach it: at the end of memory, or below the image.
func TestTheStackIsWhereHypercallsReachIt(t *testing.T) {
	requireMuchMemory(t)
	for mb, low := range map[uint64]bool{2: false, 4096: false, 4098: true, 6000: true} {
		m, err := newMemory(mb << 20)
		require.NoError(t, err)
		_, writable := m.writable(m.stack-16, 16)
		require.True(t, writable)
		require.LessOrEqual(t, m.stack, uint64(1<<32))
		require.Equal(t, low, m.stack != mb<<20)
		_, writable = m.writable(bootInfoBase, 16)
		require.False(t, writable)
		require.NoError(t, m.close())
	}
}

// TestAddressBits: a processor that does not tell addresses the least that any does.
func TestAddressBits(t *testing.T) {
	c := cpuid{count: 2}
	require.EqualValues(t, 36, c.addressBits())
	c.entries[1] = [10]uint32{cpuidLeaf: 0x80000008, cpuidEAX: 48<<8 | 39}
	require.EqualValues(t, 39, c.addressBits())
	c.count = 1
	require.EqualValues(t, 36, c.addressBits())
}

// TestSegments: the descriptors are those that the CPU has loaded.
func TestSegments(t *testing.T) {
	require.EqualValues(t, 0x00af9b000000ffff, codeSegment.descriptor())
	require.EqualValues(t, 0x00cf93000000ffff, dataSegment.descriptor())
	m := testMemory()
	m.writeTables()
	le := binary.LittleEndian
	require.Zero(t, le.Uint64(m.bytes[gdtBase:]))
	require.Equal(t, codeSegment.descriptor(), le.Uint64(m.bytes[gdtBase+codeSegmentAt:]))
	require.Equal(t, dataSegment.descriptor(), le.Uint64(m.bytes[gdtBase+dataSegmentAt:]))
}

const codeSegmentAt, dataSegmentAt = 8, 16

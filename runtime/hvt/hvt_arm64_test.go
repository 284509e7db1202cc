package hvt

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/image"
)

// walk looks an address up as the CPU does, and returns the entry of its page, or 0.
func walk(m *memory, address uint64) (entry, physical uint64) {
	const frame = 1<<48 - 1<<12
	at := uint64(level0Base)
	for level := range 4 {
		shift := 39 - 9*level
		entry = binary.LittleEndian.Uint64(m.all[at+8*(address>>shift&511):])
		switch {
		case entry&valid == 0:
			return 0, 0
		case level == 3 && entry&table == 0:
			return 0, 0
		case level == 3 || entry&table == 0:
			return entry, entry&frame + address&(1<<shift-1)
		}
		at = entry & frame
	}
	return 0, 0
}

// mapped is what a page is for a guest.
type mapped struct {
	there       bool
	to          uint64
	code, fixed bool
}

// TestPageTables: each page is mapped to itself with the right protection, up to as many
// segments as an image can have.
func TestPageTables(t *testing.T) {
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
	p := m.pages(i)
	require.True(t, zero(m.bytes[imageBase-image.PageSize:imageBase]), "the tables are below the image")
	for address := uint64(0); address < m.size()+largePage; address += image.PageSize {
		code := address == vectorsBase || p.isCode(address)
		info := address >= bootInfoBase && address < bootInfoEnd
		want := mapped{}
		if code || info || address >= imageBase && address < m.size() {
			want = mapped{there: true, to: address, code: code, fixed: address < imageBase}
		}
		entry, physical := walk(&m, address)
		got := mapped{entry != 0, physical, entry != 0 && entry&notByKernel == 0, entry&readOnly != 0}
		if got != want || entry != 0 && entry&notByUser == 0 {
			require.FailNow(t, "a page is not as it should be", "%#x: %+v, not %+v", address, got, want)
		}
	}
	entry, physical := walk(&m, portBase+8)
	require.EqualValues(t, portBase+8, physical)
	require.EqualValues(t, deviceMemory, entry>>2&7)
}

// TestOutput: a store is read as KVM describes it, and nothing else counts as a hypercall.
func TestOutput(t *testing.T) {
	le := binary.LittleEndian
	output := func(address uint64, size uint32, store byte) (output, error) {
		m := machine{cpu: -1, shared: make([]byte, 4096)}
		detail := m.shared[detailOffset:]
		le.PutUint64(detail, address)
		le.PutUint32(detail[8:], 0x1234)
		le.PutUint32(detail[16:], size)
		detail[20] = store
		return m.output()
	}
	o, err := output(portBase+16, 4, 1)
	require.NoError(t, err)
	require.EqualValues(t, portBase+16, o.place)
	require.EqualValues(t, 0x1234, o.value)
	require.False(t, o.odd)
	for _, c := range []struct {
		size  uint32
		store byte
	}{{4, 0}, {1, 1}, {8, 1}} {
		o, err := output(portBase+16, c.size, c.store)
		require.NoError(t, err)
		require.True(t, o.odd)
	}
	_, err = output(0x5000, 4, 1)
	require.EqualError(t, err, "host/guest translation fault at 0x5000")
	_, err = output(trapAddress, 4, 1)
	require.ErrorContains(t, err, "an exception that it does not handle: ")
}

// TestVectors: each of them is there, below the boot info, and ends in a loop.
func TestVectors(t *testing.T) {
	m := testMemory()
	m.writeTables()
	for at := vectorsBase; at < vectorsBase+vectorsSize; at += 128 {
		require.EqualValues(t, 0xd518d080, binary.LittleEndian.Uint32(m.bytes[at:]))
		require.EqualValues(t, 0x14000000, binary.LittleEndian.Uint32(m.bytes[at+16:]))
	}
	require.True(t, zero(m.bytes[vectorsBase+image.PageSize:vectorsBase+2*image.PageSize]))
}

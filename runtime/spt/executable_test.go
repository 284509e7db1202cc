package spt

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/runtime/image"
	"albatross/runtime/seccomp"
	"albatross/runtime/solo5"
)

// drawImage draws an image as image.Read might answer it: segments in order,
// none sharing a page.
func drawImage(t *rapid.T) *image.Image {
	i := &image.Image{}
	at := uint64(0x100000)
	for range rapid.IntRange(1, 8).Draw(t, "segments") {
		at += rapid.Uint64Range(0, 3).Draw(t, "gap") * image.PageSize
		inPage := rapid.Uint64Range(0, 4095).Draw(t, "in page")
		size := rapid.Uint64Range(1, 20000).Draw(t, "size")
		s := image.Segment{
			Address: at + inPage, MemorySize: size,
			FileSize: rapid.Uint64Range(1, size).Draw(t, "file size"),
			Protection: rapid.SampledFrom([]image.Protection{
				image.Readable, image.Executable, image.Readable | image.Executable, readWrite,
			}).Draw(t, "protection"),
		}
		i.Segments = append(i.Segments, s)
		at = s.EndPage()
	}
	i.End = at
	return i
}

func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := drawImage(t)
		memory := i.End + rapid.Uint64Range(1, 10).Draw(t, "rest")*image.PageSize
		info := make([]byte, rapid.IntRange(40, 16000).Draw(t, "info"))
		regions := layout(i, memory, info, rapid.Bool().Draw(t, "shared"))
		regions = placeInFile(append(regions, stubRegion(make([]byte, rapid.IntRange(1, 20000).Draw(t, "stub")))))

		address, offset := uint64(memoryBase), pageUp(uint64(len(elfHeaders(regions))))
		for n, r := range regions {
			if n == len(regions)-1 {
				require.EqualValues(t, memory, address, "guest memory ends where it should")
				address = stubBase
			}
			require.Equal(t, address, r.address, "no gap and no overlap")
			require.Equal(t, offset, r.offset, "contents do not overlap in the file")
			require.NotZero(t, r.size)
			require.Zero(t, (r.address|r.size|r.filled|r.offset)%image.PageSize)
			require.LessOrEqual(t, r.filled, r.size)
			require.NotEqual(t, image.Writable|image.Executable, r.protection&(image.Writable|image.Executable))
			if r.protection&image.Writable == 0 {
				require.Equal(t, r.size, r.filled, "Linux would make the rest writable")
			}
			address, offset = r.end(), r.offset+r.filled
		}
		requireProtections(t, i, regions)
	})
}

// requireProtections checks that each segment has its own protection and
// everything else in guest memory is writable.
func requireProtections(t *rapid.T, i *image.Image, regions []region) {
	at := func(address uint64) image.Protection {
		for _, r := range regions {
			if r.address <= address && address < r.end() {
				return r.protection
			}
		}
		return 0
	}
	end := uint64(memoryBase)
	for _, s := range i.Segments {
		for page := end; page < s.FirstPage(); page += image.PageSize {
			require.Equal(t, readWrite, at(page))
		}
		for page := s.FirstPage(); page < s.EndPage(); page += image.PageSize {
			require.Equal(t, s.Protection, at(page))
		}
		end = s.EndPage()
	}
}

func TestBootInfo(t *testing.T) {
	devices := []solo5.Device{
		{Name: "storage", Kind: image.Block, Capacity: 1 << 33, SectorSize: 4096},
		{Name: "service", Kind: image.Net, MAC: solo5.MAC{2, 3, 4, 5, 6, 7}, MTU: 1500},
	}
	b, err := bootInfo(32<<20, 0x104000, devices, []string{"--name=a", "b c"})
	require.NoError(t, err)
	le := binary.LittleEndian
	require.EqualValues(t, 32<<20, le.Uint64(b))
	require.EqualValues(t, 0x104000, le.Uint64(b[8:]))
	require.EqualValues(t, 3, le.Uint32(b[32:]))
	require.EqualValues(t, 4, le.Uint32(b[36:]))
	require.Equal(t, "--name=a b c\x00", string(b[le.Uint64(b[16:])-bootInfoBase:]))

	m := b[le.Uint64(b[24:])-bootInfoBase:]
	require.EqualValues(t, 1, le.Uint32(m))
	require.EqualValues(t, 3, le.Uint32(m[4:]))
	first, block, net := m[8:112], m[112:216], m[216:320]
	require.EqualValues(t, 1<<30, le.Uint32(first[68:]))
	require.Equal(t, "storage", strings.TrimRight(string(block[:68]), "\x00"))
	require.EqualValues(t, 1, le.Uint32(block[68:]))
	require.EqualValues(t, 1<<33, le.Uint64(block[72:]))
	require.EqualValues(t, 4096, le.Uint16(block[80:]))
	require.EqualValues(t, 5, le.Uint32(block[88:]))
	require.EqualValues(t, 1, block[96])
	require.EqualValues(t, 2, le.Uint32(net[68:]))
	require.Equal(t, []byte{2, 3, 4, 5, 6, 7}, net[72:78])
	require.EqualValues(t, 1500, le.Uint16(net[78:]))
	require.EqualValues(t, 6, le.Uint32(net[88:]))
}

func TestArgumentsMayBeAsLongAsTheirPlace(t *testing.T) {
	_, err := bootInfo(0, 0, nil, []string{strings.Repeat("a", 8191)})
	require.NoError(t, err)
	_, err = bootInfo(0, 0, nil, []string{strings.Repeat("a", 8190), ""})
	require.NoError(t, err)
	_, err = bootInfo(0, 0, nil, []string{strings.Repeat("a", 8191), ""})
	require.EqualError(t, err, "cannot pass arguments: they have 8192 bytes, of at most 8191")
}

// Everything the tender tells a guest has to fit below the image.
func TestBootInfoFitsBelowImage(t *testing.T) {
	b, err := bootInfo(0, 0, make([]solo5.Device, maxDevices), []string{strings.Repeat("a", 8191)})
	require.NoError(t, err)
	require.Less(t, bootInfoBase+len(b), 0x100000)
}

func TestStubIsTheSameLengthInBothPasses(t *testing.T) {
	s := stub{filter: seccomp.Compile(rules(make([]solo5.Device, maxDevices)))}
	short := s.code(stubData{})
	d := s.data(stubBase + uint64(len(short)))
	require.Len(t, s.code(d), len(short))
}

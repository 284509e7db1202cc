package hvt

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/test/guests"
)

// FuzzLoad: whatever file is an image, its segments are in memory, and nothing else is, whether
// the file is mapped or copied. What may not be written to cannot be.
func FuzzLoad(f *testing.F) {
	for _, name := range guests.Names() {
		f.Add(guests.Image(name, "hvt"), false)
	}
	f.Add(guests.Grow(guests.Image("large", "hvt"),
		guests.Segment{Address: 0x120000, Contents: bytes.Repeat([]byte("text"), 3000), Flags: 5},
		guests.Segment{Address: 0x130010, Contents: bytes.Repeat([]byte("data"), 3000), MemorySize: 20_000, Flags: 6},
	), true)
	f.Fuzz(func(t *testing.T, file []byte, shared bool) {
		i, err := image.Read(bytes.NewReader(file), int64(len(file)))
		if err != nil || i.Target != image.HVT || i.End > 16<<20 {
			return
		}
		m, err := newMemory(i.Usable(i.End + 2*largePage))
		require.NoError(t, err)
		defer func() { require.NoError(t, m.close()) }()
		fd := memoryFile(t, file, shared)
		defer func() { require.NoError(t, unix.Close(fd)) }()
		require.NoError(t, m.load(i, fd))

		want := make([]byte, m.size())
		for _, s := range i.Segments {
			copy(want[s.Address:], file[s.Offset:s.Offset+s.FileSize])
			_, writable := m.writable(s.Address, 1)
			require.Equal(t, s.Protection&image.Writable != 0, writable)
		}
		require.True(t, bytes.Equal(want, m.bytes))
		m.writePageTables(i)
		require.True(t, bytes.Equal(want[imageBase:], m.bytes[imageBase:]), "the tables are elsewhere")
	})
}

// memoryFile makes a file in memory, which is shared if nobody may write to it.
func memoryFile(t *testing.T, contents []byte, shared bool) int {
	t.Helper()
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	_, err = unix.Write(fd, contents)
	require.NoError(t, err)
	mode := uint32(0o600)
	if shared {
		mode = 0o400
	}
	require.NoError(t, unix.Fchmod(fd, mode))
	return fd
}

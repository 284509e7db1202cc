package spt

import (
	"bytes"
	"debug/elf"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/test/guests"
)

// FuzzLoad: whatever file is an image, the executable and what the stub maps over it are its
// segments at their places, and nothing else but the boot info.
func FuzzLoad(f *testing.F) {
	for _, name := range guests.Names() {
		f.Add(guests.Image(name, "spt"), false)
	}
	f.Add(guests.Grow(guests.Image("large", "spt"),
		guests.Segment{Address: 0x120000, Contents: bytes.Repeat([]byte("text"), 3000), Flags: 5},
		guests.Segment{Address: 0x130010, Contents: bytes.Repeat([]byte("data"), 3000), MemorySize: 20_000, Flags: 6},
	), true)
	f.Fuzz(func(t *testing.T, file []byte, shared bool) {
		i, err := image.Read(bytes.NewReader(file), int64(len(file)))
		if err != nil || i.Target != image.SPT || i.End > 16<<20 {
			return
		}
		info, memory := []byte("boot info"), i.End+image.PageSize
		regions := placeInFile(append(layout(i, memory, info, shared), stubRegion([]byte("stub"))))
		got := loaded(t, regions, file, memory)

		want := make([]byte, memory)
		copy(want[bootInfoBase:], info)
		for _, s := range i.Segments {
			copy(want[s.Address:], file[s.Offset:s.Offset+s.FileSize])
		}
		require.True(t, bytes.Equal(want, got))
	})
}

// loaded returns guest memory as Linux and the stub make it.
func loaded(t *testing.T, regions []region, file []byte, size uint64) []byte {
	t.Helper()
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Close(fd)) }()
	_, err = unix.Write(fd, file)
	require.NoError(t, err)
	executable, err := writeExecutable(regions, fd)
	require.NoError(t, err)
	opened := os.NewFile(uintptr(executable), "executable")
	defer func() { require.NoError(t, opened.Close()) }()
	e, err := elf.NewFile(opened)
	require.NoError(t, err)

	memory := make([]byte, size)
	for _, p := range e.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr < stubBase {
			_, err := io.ReadFull(p.Open(), memory[p.Vaddr:p.Vaddr+p.Filesz])
			require.NoError(t, err)
		}
	}
	for _, r := range regions {
		p := r.mapped
		require.True(t, p.Size == 0 || r.address <= p.Address && p.Address+p.Size <= r.end())
		require.Zero(t, (p.Address|p.Offset|p.Size)%image.PageSize)
		copy(memory[p.Address:], file[p.Offset:p.Offset+p.Size])
	}
	return memory
}

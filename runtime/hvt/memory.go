package hvt

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

const megabyte = 1 << 20

// memory is guest memory, from address 0. The guest may change the bytes at any moment in
// which it runs.
type memory struct {
	bytes []byte // what the guest is told of
	fixed []span // what the guest cannot write, nor we on its behalf: writing would fault
	stack uint64 // where the stack begins, from which it grows downwards
	all   []byte // bytes, and behind them the page tables
}

// span is a range of addresses.
type span struct{ from, to uint64 }

// newMemory maps zeroed memory, which costs what is touched.
func newMemory(size uint64) (memory, error) {
	all, err := unix.Mmap(-1, 0, int(size+tablesSize(size)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return memory{}, fmt.Errorf("cannot reserve %d MB of memory: %w", size/megabyte, err)
	}
	m := memory{bytes: all[:size], fixed: []span{{0, imageBase}}, stack: size, all: all}
	if size > argumentLimit {
		m.fixed, m.stack = []span{{0, lowStackEnd}}, imageBase
	}
	return m, nil
}

func (m *memory) size() uint64 { return uint64(len(m.bytes)) }

// load fills memory from the image file, or maps the file where unikernels share it. Segments
// that are not writable become so for this process, and thereby for the guest, whatever it
// does to its page tables.
func (m *memory) load(i *image.Image, file int) error {
	shared := solo5.Shareable(file, unix.PROT_READ)
	for _, s := range i.Segments {
		if err := m.loadSegment(s, file, shared); err != nil {
			return fmt.Errorf("cannot load image: %w", err)
		}
	}
	return nil
}

func (m *memory) loadSegment(s image.Segment, file int, shared bool) error {
	mapped, copied := s.Parts(shared)
	for _, p := range copied {
		if err := readFull(file, m.bytes[p.Address:p.Address+p.Size], int64(p.Offset)); err != nil {
			return err
		}
	}
	if mapped.Size > 0 {
		if err := m.mapFile(mapped, file); err != nil {
			return err
		}
	}
	if s.Protection&image.Writable != 0 {
		return nil
	}
	m.fixed = append(m.fixed, span{s.FirstPage(), s.EndPage()})
	return unix.Mprotect(m.bytes[s.FirstPage():s.EndPage()], unix.PROT_READ)
}

// mapFile replaces memory by pages of the file. What is written to them is not written to the
// file.
func (m *memory) mapFile(p image.Part, file int) error {
	_, err := unix.MmapPtr(file, int64(p.Offset), unsafe.Pointer(&m.bytes[p.Address]), uintptr(p.Size),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	return err
}

// readFull fills b from an offset of a file.
func readFull(file int, b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := solo5.Retry(func() (int, error) { return unix.Pread(file, b, offset) })
		if err == nil && n == 0 {
			err = unix.ENODATA
		}
		if err != nil {
			return err
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// readable returns length bytes of memory at an address, if all of them are in it.
func (m *memory) readable(address, length uint64) ([]byte, bool) {
	if length > m.size() || address > m.size()-length {
		return nil, false
	}
	return m.bytes[address : address+length], true
}

// writable is readable for memory that the guest itself may write.
func (m *memory) writable(address, length uint64) ([]byte, bool) {
	b, ok := m.readable(address, length)
	if !ok {
		return nil, false
	}
	for _, f := range m.fixed {
		if address < f.to && f.from < address+length {
			return nil, false
		}
	}
	return b, true
}

func (m *memory) close() error {
	if m.all == nil {
		return nil
	}
	return unix.Munmap(m.all)
}

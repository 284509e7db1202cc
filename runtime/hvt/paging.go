package hvt

import (
	"encoding/binary"

	"albatross/runtime/image"
)

// The page tables map each address to itself. What is in the image as code can be executed,
// and nothing else. A table of its own, of pages of 4 KB, is only for those 2 MB where code
// and other memory meet; anything else is a page of 2 MB. The first 2 MB have one, too: what
// lies below the boot info is not mapped, so that a NULL pointer faults.
//
// These tables are a service to the guest, whose bugs they catch: it can load other ones.
const (
	present   = 1 << 0
	writeable = 1 << 1
	large     = 1 << 7
	noExecute = 1 << 63

	largePage = 2 << 20
)

// writePageTables writes the tables for an image to their places. The image has at most 64
// segments, whose boundaries are in as many pages of 2 MB, twice; so the tables end far
// below the image.
func (m *memory) writePageTables(i *image.Image) {
	put := func(table uint64, index int, entry uint64) {
		binary.LittleEndian.PutUint64(m.bytes[table+8*uint64(index):], entry)
	}
	put(pml4Base, 0, pdptBase|present|writeable)
	for gb := range 4 {
		put(pdptBase, gb, uint64(pdBase+gb*image.PageSize)|present|writeable)
	}
	code, table := codeOf(i), uint64(tablesBase)
	for n := range len(m.bytes) / largePage {
		address := uint64(n) * largePage
		if n > 0 && code.uniform(address) {
			put(pdBase, n, code.entry(address)|large)
			continue
		}
		put(pdBase, n, table|present|writeable)
		for page := range largePage / image.PageSize {
			put(table, page, code.entry(address+uint64(page)*image.PageSize))
		}
		table += image.PageSize
	}
}

// code is where the code of an image is: whole pages.
type code []span

func codeOf(i *image.Image) (c code) {
	for _, s := range i.Segments {
		if s.Protection&image.Executable != 0 {
			c = append(c, span{s.FirstPage(), s.EndPage()})
		}
	}
	return c
}

// uniform reports whether 2 MB of memory are code as a whole, or not at all.
func (c code) uniform(address uint64) bool {
	for _, s := range c {
		begins := s.from > address && s.from < address+largePage
		ends := s.to > address && s.to < address+largePage
		if begins || ends {
			return false
		}
	}
	return true
}

// entry returns the entry for the page at an address. Whether code can be written is decided
// by the protections of this process.
func (c code) entry(address uint64) uint64 {
	switch {
	case address < bootInfoBase, address >= bootInfoEnd && address < imageBase:
		return 0
	case address < bootInfoEnd:
		return address | present | noExecute
	}
	for _, s := range c {
		if s.from <= address && address < s.to {
			return address | present | writeable
		}
	}
	return address | present | writeable | noExecute
}

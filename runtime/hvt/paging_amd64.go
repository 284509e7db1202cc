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
//
// The first two levels are below the image. The others are behind the memory that the guest is
// told of: a directory for each GB, and then the tables.
const (
	gdtBase  = 0x1000
	pml4Base = 0x2000
	pdptBase = 0x3000
)

const (
	present   = 1 << 0
	writeable = 1 << 1
	large     = 1 << 7
	noExecute = 1 << 63

	// maxTables is how many tables there may be: of the first 2 MB, and of where each of 64
	// segments begins and ends.
	maxTables = 1 + 2*64
)

// tablesSize returns how much the tables behind memory take at most.
func tablesSize(memory uint64) uint64 {
	return (directories(memory) + maxTables) * image.PageSize
}

func directories(memory uint64) uint64 { return (memory + gigabyte - 1) / gigabyte }

// writePageTables writes the tables for an image to their places.
func (m *memory) writePageTables(i *image.Image) {
	put := func(table uint64, index uint64, entry uint64) {
		binary.LittleEndian.PutUint64(m.all[table+8*index:], entry)
	}
	first := m.size()
	put(pml4Base, 0, pdptBase|present|writeable)
	for n := range directories(m.size()) {
		put(pdptBase, n, first+n*image.PageSize|present|writeable)
	}
	p, table := m.pages(i), first+directories(m.size())*image.PageSize
	for n := range m.size() / largePage {
		address := n * largePage
		if n > 0 && p.uniform(address) {
			put(first, n, p.entry(address)|large)
			continue
		}
		put(first, n, table|present|writeable)
		for page := range uint64(largePage / image.PageSize) {
			put(table, page, p.entry(address+page*image.PageSize))
		}
		table += image.PageSize
	}
}

// entry returns the entry for the page at an address. Whether code can be written is decided
// by the protections of this process.
func (p pages) entry(address uint64) uint64 {
	switch {
	case address < bootInfoBase, address >= bootInfoEnd && address < p.low:
		return 0
	case address < bootInfoEnd:
		return address | present | noExecute
	}
	if p.isCode(address) {
		return address | present | writeable
	}
	return address | present | writeable | noExecute
}

package hvt

import (
	"encoding/binary"

	"albatross/runtime/image"
)

// The page tables map each address to itself. What is in the image as code can be executed,
// and nothing else, besides our exception vectors. A table of its own, of pages of 4 KB, is only
// for those 2 MB where code and other memory meet; anything else is a block of 2 MB. The first 2 MB
// have one, too: what lies below the boot info is not mapped, so that a NULL pointer faults.
// Behind 4 GB of memory at most, there is 1 GB for hypercalls.
//
// These tables are a service to the guest, whose bugs they catch: it can load other ones. All of
// them are below the image, which leaves room for the last level of as many segments as an image
// can have.
const (
	level0Base  = 0x1000
	level1Base  = 0x2000
	level2Base  = 0x3000 // one for each GB
	vectorsBase = 0x7000
	vectorsSize = 0x800
	level3Base  = 0x20000

	valid       = 1 << 0
	table       = 1 << 1 // another table, or a page at the last level; else a block
	readOnly    = 1 << 7
	shared      = 3 << 8
	accessed    = 1 << 10
	notByKernel = 1 << 53 // not executable at level 1, where the guest is
	notByUser   = 1 << 54

	normal = valid | normalMemory<<2 | shared | accessed | notByUser
	device = valid | deviceMemory<<2 | accessed | notByKernel | notByUser
)

// tablesSize returns how much the tables behind memory take: none are there.
func tablesSize(uint64) uint64 { return 0 }

// writePageTables writes the tables for an image to their places.
func (m *memory) writePageTables(i *image.Image) {
	put := func(table uint64, index uint64, entry uint64) {
		binary.LittleEndian.PutUint64(m.all[table+8*index:], entry)
	}
	put(level0Base, 0, level1Base|valid|table)
	for n := range (m.size() + gigabyte - 1) / gigabyte {
		put(level1Base, n, level2Base+n*image.PageSize|valid|table)
	}
	put(level1Base, portBase/gigabyte, portBase|device)
	p, last := m.pages(i), uint64(level3Base)
	for n := range m.size() / largePage {
		address := n * largePage
		if n > 0 && p.uniform(address) {
			put(level2Base, n, p.entry(address))
			continue
		}
		put(level2Base, n, last|valid|table)
		for page := range uint64(largePage / image.PageSize) {
			if entry := p.entry(address + page*image.PageSize); entry != 0 {
				put(last, page, entry|table)
			}
		}
		last += image.PageSize
	}
}

// entry returns the entry for the page at an address. Whether code can be written is decided
// by the protections of this process.
func (p pages) entry(address uint64) uint64 {
	switch {
	case address == vectorsBase:
		return address | normal | readOnly
	case address < bootInfoBase, address >= bootInfoEnd && address < p.low:
		return 0
	case address < bootInfoEnd:
		return address | normal | readOnly | notByKernel
	case p.isCode(address):
		return address | normal
	}
	return address | normal | notByKernel
}

package hvt

import "albatross/runtime/image"

// Page tables map memory in pages of these sizes, or of 4 KB.
const (
	largePage = 2 << 20
	gigabyte  = 1 << 30
)

// pages says which pages of memory a guest may use, and how.
type pages struct {
	code []span // whole pages
	low  uint64 // what it may write begins here
}

func (m *memory) pages(i *image.Image) pages {
	p := pages{low: m.fixed[0].to}
	for _, s := range i.Segments {
		if s.Protection&image.Executable != 0 {
			p.code = append(p.code, span{s.FirstPage(), s.EndPage()})
		}
	}
	return p
}

// uniform reports whether 2 MB of memory are code as a whole, or not at all.
func (p pages) uniform(address uint64) bool {
	for _, s := range p.code {
		begins := s.from > address && s.from < address+largePage
		ends := s.to > address && s.to < address+largePage
		if begins || ends {
			return false
		}
	}
	return true
}

// isCode reports whether an address is in a page of code.
func (p pages) isCode(address uint64) bool {
	for _, s := range p.code {
		if s.from <= address && address < s.to {
			return true
		}
	}
	return false
}

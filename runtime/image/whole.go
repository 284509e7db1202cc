package image

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	sectionHeaderSize = 64
	sectionUnused     = 0
	sectionZeros      = 8 // in memory only

	// maxSections bounds what is read. Solo5's toolchain makes images with about twenty
	// sections; of an image with more, only the table is checked.
	maxSections = 256
)

// checkWhole refuses an image that was cut off after the parts that it needs to run: all
// that its headers name must be in the file, also what nobody reads.
func (e *elf) checkWhole(*Image) error {
	for i, p := range e.headers {
		if err := e.contains(fmt.Sprintf("segment %d", i), p.offset, p.fileSize); p.fileSize > 0 && err != nil {
			return err
		}
	}
	if e.sections.offset == 0 {
		return nil
	}
	return e.checkSections()
}

func (e *elf) checkSections() error {
	if e.sections.size != sectionHeaderSize {
		return errors.New("unexpected size of section headers")
	}
	length := uint64(e.sections.count) * sectionHeaderSize
	const what = "section header table"
	if e.sections.count > maxSections {
		return e.contains(what, e.sections.offset, length)
	}
	raw, err := e.read(what, e.sections.offset, length)
	if err != nil {
		return err
	}
	for i := range int(e.sections.count) {
		if err := e.checkSection(i, raw[i*sectionHeaderSize:]); err != nil {
			return err
		}
	}
	return nil
}

func (e *elf) checkSection(i int, header []byte) error {
	le := binary.LittleEndian
	switch kind := le.Uint32(header[4:]); kind {
	case sectionUnused, sectionZeros:
		return nil
	}
	return e.contains(fmt.Sprintf("section %d", i), le.Uint64(header[24:]), le.Uint64(header[32:]))
}

// sectionTable says where the section headers are.
type sectionTable struct {
	offset      uint64 // 0: there are none
	size, count uint16 // of each; how many
}

func decodeSectionTable(h []byte) sectionTable {
	le := binary.LittleEndian
	return sectionTable{offset: le.Uint64(h[40:]), size: le.Uint16(h[58:]), count: le.Uint16(h[60:])}
}

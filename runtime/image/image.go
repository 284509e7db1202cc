// Package image reads and checks Solo5 images: whether a file is one, for which target,
// which devices it declares, and where in memory its parts belong.
//
// An image comes from whoever may create a unikernel and is hostile until it is checked.
// Read never takes more of it into memory than the headers and the two notes (less than
// 32 KB, whatever the file says). Everything in an Image has been checked: its users
// check nothing but the size of memory.
package image

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Target is the platform that an image was linked for.
type Target uint32

// The targets of Solo5, numbered as in its ABI note.
const (
	HVT Target = iota + 1
	SPT
	Virtio
	Muen
	Genode
	Xen
)

var targetNames = map[Target]string{
	HVT: "hvt", SPT: "spt", Virtio: "virtio", Muen: "muen", Genode: "genode", Xen: "xen",
}

func (t Target) String() string {
	if name, ok := targetNames[t]; ok {
		return name
	}
	return fmt.Sprintf("%d", uint32(t))
}

// DeviceKind tells block devices from networks.
type DeviceKind uint32

// The kinds of devices, numbered as in the manifest.
const (
	Block DeviceKind = 1
	Net   DeviceKind = 2
)

func (d DeviceKind) String() string {
	switch d {
	case Block:
		return "block"
	case Net:
		return "net"
	default:
		return fmt.Sprintf("%d", uint32(d))
	}
}

// Device is a device that the image declares. Its place in Image.Devices plus one is its
// index in the manifest, which is its handle in the unikernel.
type Device struct {
	Name string
	Kind DeviceKind
}

func (d Device) String() string { return fmt.Sprintf("%v %q", d.Kind, d.Name) }

// PageSize is the unit of memory protection, unless the host has larger pages.
const PageSize = 4096

// Protection says what the unikernel may do with a segment.
type Protection uint32

// The bits of a Protection, as in an ELF program header.
const (
	Executable Protection = 1
	Writable   Protection = 2
	Readable   Protection = 4
)

// Segment is a part of memory that is filled from the file. Segments come in ascending
// order and share no page; none is both writable and executable.
type Segment struct {
	Address    uint64 // where it begins in memory, not necessarily on a page
	MemorySize uint64 // at least FileSize; the rest is zero
	Offset     uint64 // where its contents begin in the file
	FileSize   uint64
	Protection Protection

	page uint64 // the size of a page; 0: PageSize
}

// FirstPage returns the address of the first page the segment touches.
func (s Segment) FirstPage() uint64 { return s.Address &^ (s.pageSize() - 1) }

// EndPage returns the address of the first page after the segment.
func (s Segment) EndPage() uint64 { return s.pageUp(s.Address + s.MemorySize) }

// Part is a part of the contents of a segment.
type Part struct {
	Address uint64 // in memory
	Offset  uint64 // in the file
	Size    uint64
}

// Parts divides the contents of the segment into pages that are pages of the file as well,
// which can be mapped if the image is shared, and the rest, which must be copied: around its
// contents the file has other bytes than memory, which is zero there. Segments that the file
// and memory divide into pages in different ways are rest as a whole.
func (s Segment) Parts(shared bool) (mapped Part, copied []Part) {
	all := Part{s.Address, s.Offset, s.FileSize}
	first, end := s.pageUp(s.Address), (s.Address+s.FileSize)&^(s.pageSize()-1)
	if !shared || (s.Address-s.Offset)%s.pageSize() != 0 || end <= first {
		return Part{}, []Part{all}
	}
	before, mapped := all.cut(first)
	mapped, behind := mapped.cut(end)
	for _, p := range []Part{before, behind} {
		if p.Size > 0 {
			copied = append(copied, p)
		}
	}
	return mapped, copied
}

// cut divides a part at an address in it.
func (p Part) cut(address uint64) (below, above Part) {
	size := address - p.Address
	return Part{p.Address, p.Offset, size}, Part{address, p.Offset + size, p.Size - size}
}

func (s Segment) pageSize() uint64 { return max(s.page, PageSize) }

func (s Segment) pageUp(address uint64) uint64 {
	return (address + s.pageSize() - 1) &^ (s.pageSize() - 1)
}

func pageUp(address uint64) uint64 { return (address + PageSize - 1) &^ (PageSize - 1) }

// Image is what a Solo5 image declares.
type Image struct {
	Architecture Architecture
	Target       Target
	ABIVersion   uint32
	Devices      []Device

	// Entry, End and Segments are set for hvt and spt only; we do not know how other
	// targets use memory.
	Entry    uint64
	End      uint64 // the first page after everything, zeroed memory included
	Segments []Segment
}

// Read reads and checks an image of size bytes.
func Read(r io.ReaderAt, size int64) (*Image, error) {
	i, err := read(file{r, uint64(max(size, 0))})
	if err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	return i, nil
}

func read(f file) (*Image, error) {
	e, err := openELF(f)
	if err != nil {
		return nil, err
	}
	i := &Image{Architecture: e.machine}
	for _, step := range []func(*Image) error{e.checkStatic, e.readABI, e.readManifest, e.readMemory, e.checkWhole} {
		if err := step(i); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// CheckTarget refuses a target that no tender runs on Linux. Clients read the text, which
// is native's.
func (i *Image) CheckTarget() error {
	if i.Target != HVT && i.Target != SPT {
		return fmt.Errorf("unsupported solo5 target %v", i.Target)
	}
	return nil
}

// CheckABI refuses an image for any other target and ABI version than these, in words of Solo5's
// tenders.
func (i *Image) CheckABI(target Target, version uint32) error {
	if i.Target != target {
		return fmt.Errorf("cannot run image: Executable is not for the solo5-%v target, but for %v", target, i.Target)
	}
	if i.ABIVersion != version {
		return fmt.Errorf("cannot run image: Executable requests unsupported ABI version %d, not %d", i.ABIVersion, version)
	}
	return nil
}

// MatchDevices refuses a set of devices, in any order, that is not exactly what the
// manifest declares. Clients read the texts, which are native's.
func (i *Image) MatchDevices(blocks, nets []string) error {
	if !sameNames(blocks, i.names(Block)) {
		return fmt.Errorf("specified block device(s) does not match with manifest. %s", i.present())
	}
	if !sameNames(nets, i.names(Net)) {
		return fmt.Errorf("specified bridge(s) does not match with the manifest. %s", i.present())
	}
	return nil
}

func (i *Image) names(kind DeviceKind) []string {
	var names []string
	for _, d := range i.Devices {
		if d.Kind == kind {
			names = append(names, d.Name)
		}
	}
	return names
}

func (i *Image) present() string {
	if len(i.Devices) == 0 {
		return "Devices present in manifest: none"
	}
	var devices []string
	for _, d := range i.Devices {
		devices = append(devices, d.String())
	}
	return "Devices present in manifest: " + strings.Join(devices, ", ")
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

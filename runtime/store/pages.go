package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A page of a bbolt file contains a header with the page's number, its kind, how many
// elements it has and how many pages follow that belong to it; then the elements, each of
// elementSize bytes; then their keys and values, consecutively, without a gap.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	elementSize = 16
	// bucketHeader is the size of the beginning of a bucket's value: its first page, and
	// a number. A small bucket has no page: the contents of one follow.
	bucketHeader = 16
	isBucket     = 1
	// manyFree says that the number of free pages is too large for the header, and comes
	// first.
	manyFree = 0xFFFF
	// maxDepth bounds the height of a tree. Each branch has at least two children, so no
	// database comes near.
	maxDepth = 64
)

// A walk goes through all pages of a database and checks that bbolt can use it. bbolt
// itself trusts a page, and a damaged one makes it crash, loop, take all memory, or skip
// what is stored. The walk trusts nothing. Each page in use is reached exactly once, or
// is on the list of free pages; each element is where it must be; and all keys are in
// order. It ignores the contents of keys and values: see record.go.
//
// It reads each page once, and holds one page per level of the tree.
type walk struct {
	file    io.ReaderAt
	meta    meta
	reached []bool // by the number of the page
}

// checkPages checks that all pages to which meta leads are valid.
func checkPages(file io.ReaderAt, m meta) error {
	w := walk{file, m, make([]bool, m.pages)}
	w.reached[0], w.reached[1] = true, true // they contain the metas
	if err := w.tree(m.root, w.bucket); err != nil {
		return err
	}
	if err := w.freelist(); err != nil {
		return err
	}
	for id, reached := range w.reached {
		if !reached {
			return fmt.Errorf("page %d is neither in use nor free", id)
		}
	}
	return nil
}

// tree goes through the pages of the tree with this root.
func (w *walk) tree(root uint64, leaf func(element) error) error {
	return w.branch(root, 0, &order{}, leaf)
}

func (w *walk) branch(id uint64, depth int, keys *order, leaf func(element) error) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d has too many pages above it", id)
	}
	p, err := w.page(id)
	if err != nil {
		return err
	}
	list, err := p.elements()
	if err != nil {
		return fmt.Errorf("page %d %w", id, err)
	}
	for _, e := range list {
		if !keys.next(e.key, p.kind == branchPage) {
			return fmt.Errorf("page %d has a key that does not belong there", id)
		}
		if p.kind == leafPage {
			err = leaf(e)
		} else {
			err = w.branch(e.page, depth+1, keys, leaf)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket goes through the contents of the bucket in e, an element of the root.
func (w *walk) bucket(e element) error {
	if e.flags != isBucket || len(e.value) < bucketHeader {
		return fmt.Errorf("%q is no bucket", e.key)
	}
	root := binary.NativeEndian.Uint64(e.value)
	if root != 0 {
		if len(e.value) > bucketHeader {
			return fmt.Errorf("bucket %q is in two places", e.key)
		}
		return w.tree(root, value)
	}
	p, err := parsePage(e.value[bucketHeader:], 0)
	if err == nil && (p.kind != leafPage || p.overflow != 0) {
		err = errors.New("is of no known kind")
	}
	if err == nil {
		err = w.inline(p)
	}
	if err != nil {
		return fmt.Errorf("bucket %q %w", e.key, err)
	}
	return nil
}

// inline goes through a bucket without a page of its own, which ends where its last
// element does.
func (w *walk) inline(p page) error {
	list, err := p.elements()
	if err != nil {
		return err
	}
	keys, size := order{}, pageHeader
	for _, e := range list {
		if err := value(e); err != nil {
			return err
		}
		if !keys.next(e.key, false) {
			return errors.New("has a key that does not belong there")
		}
		size += elementSize + len(e.key) + len(e.value)
	}
	if size != len(p.data) {
		return errors.New("has more than its elements")
	}
	return nil
}

// value refuses a bucket in a bucket: there are none.
func value(e element) error {
	if e.flags != 0 {
		return errors.New("an element is of no known kind")
	}
	return nil
}

// freelist marks the free pages as reached.
func (w *walk) freelist() error {
	p, err := w.page(w.meta.freelist)
	if err != nil {
		return err
	}
	ids, count := p.data[pageHeader:], uint64(p.count)
	if count == manyFree {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if p.kind != freelistPage || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no list of free pages", w.meta.freelist)
	}
	for i := range count {
		if err := w.reach(binary.NativeEndian.Uint64(ids[8*i:])); err != nil {
			return err
		}
	}
	return nil
}

// reach notes that the walk has reached a page, and refuses a second time.
func (w *walk) reach(id uint64) error {
	switch {
	case id >= w.meta.pages:
		return fmt.Errorf("there is no page %d", id)
	case w.reached[id]:
		return fmt.Errorf("page %d has two uses", id)
	}
	w.reached[id] = true
	return nil
}

// page reads one page, and those that belong to it.
func (w *walk) page(id uint64) (page, error) {
	if err := w.reach(id); err != nil {
		return page{}, err
	}
	data := make([]byte, w.meta.pageSize)
	if _, err := w.file.ReadAt(data, int64(id*w.meta.pageSize)); err != nil {
		return page{}, err
	}
	p, err := parsePage(data, id)
	if err != nil {
		return page{}, fmt.Errorf("page %d %w", id, err)
	}
	if p.overflow == 0 {
		return p, nil
	}
	if p.overflow >= w.meta.pages-id {
		return page{}, fmt.Errorf("page %d is larger than the file", id)
	}
	for more := range p.overflow {
		if err := w.reach(id + 1 + more); err != nil {
			return page{}, err
		}
	}
	p.data = make([]byte, (1+p.overflow)*w.meta.pageSize)
	_, err = w.file.ReadAt(p.data, int64(id*w.meta.pageSize))
	return p, err
}

// A page is one that has been read.
type page struct {
	kind     uint16
	count    uint16
	overflow uint64 // how many pages follow that belong to it
	data     []byte // from the header on
}

// parsePage parses the header of the page with a number.
func parsePage(data []byte, id uint64) (page, error) {
	if len(data) < pageHeader {
		return page{}, errors.New("is cut off")
	}
	p := page{
		kind:     binary.NativeEndian.Uint16(data[8:]),
		count:    binary.NativeEndian.Uint16(data[10:]),
		overflow: uint64(binary.NativeEndian.Uint32(data[12:])),
		data:     data,
	}
	if binary.NativeEndian.Uint64(data) != id {
		return page{}, errors.New("says that it is another one")
	}
	return p, nil
}

// An element is one of a leaf, with a value, or of a branch, with a page that has the
// keys from this one on.
type element struct {
	key, value []byte
	flags      uint32
	page       uint64
}

// elements returns the elements of a page. Their keys and values are consecutive.
func (p page) elements() (list []element, err error) {
	at := uint64(pageHeader + elementSize*int(p.count))
	switch {
	case p.kind != branchPage && p.kind != leafPage:
		return nil, errors.New("is of no known kind")
	case at > uint64(len(p.data)):
		return nil, errors.New("has more elements than it has room")
	case p.kind == branchPage && p.count == 0:
		return nil, errors.New("leads nowhere")
	}
	for i := range int(p.count) {
		begin := uint64(pageHeader + elementSize*i)
		e, pos, keySize, valueSize := p.element(begin)
		end := at + keySize + valueSize
		if begin+pos != at || keySize == 0 || end > uint64(len(p.data)) {
			return nil, errors.New("has an element that is not where it belongs")
		}
		e.key, e.value = p.data[at:at+keySize], p.data[at+keySize:end]
		list = append(list, e)
		at = end
	}
	return list, nil
}

// element parses one: where its key is, from the element's own beginning, and the sizes.
func (p page) element(begin uint64) (e element, pos, keySize, valueSize uint64) {
	word := func(at uint64) uint64 { return uint64(binary.NativeEndian.Uint32(p.data[begin+at:])) }
	if p.kind == branchPage {
		e.page = binary.NativeEndian.Uint64(p.data[begin+8:])
		return e, word(0), word(4), 0
	}
	e.flags = uint32(word(0))
	return e, word(4), word(8), word(12)
}

// An order is the last key seen in a tree: each key must be larger than the one before.
// That of a branch must be the first below it: bbolt relies on that when it looks for the
// element to replace.
type order struct {
	last   []byte
	branch bool
}

// next reports whether a key may follow.
func (o *order) next(key []byte, branch bool) bool {
	order := bytes.Compare(key, o.last) // the first key has no predecessor
	ok := order == 0
	if !o.branch {
		ok = order > 0
	}
	o.last, o.branch = key, branch
	return ok
}

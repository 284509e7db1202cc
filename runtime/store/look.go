package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"albatross/messages"
)

// A bbolt file begins with two pages with a meta each, which commits write in turn. The
// newest counts. If it is damaged, bbolt uses the older one, and so silently forgets the
// last commit: so both must be valid.
const (
	pageHeader = 16 // before the contents of a page
	metaSize   = 64
	metaMagic  = 0xED0CDAED
	metaFormat = 2
	// The smallest and the largest page size: they bound where the second meta may be.
	minPageSize = 1 << 10
	maxPageSize = 64 << 10
)

// Missing reports whether a directory contains no database, or an empty file, so that
// Open would create one.
func Missing(dir string) (bool, error) {
	info, err := os.Lstat(filepath.Join(dir, DBFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("cannot look for the database: %w", err)
	}
	return info.Mode().IsRegular() && info.Size() == 0, nil
}

// look checks that a file is a database, and that all references in it are valid, before
// bbolt trusts it. An empty file is to become a database.
func look(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNoDatabase
	}
	if info.Size() == 0 {
		return nil
	}
	m, half, err := readMetas(f)
	if err != nil {
		return err
	}
	if needed := m.pages * m.pageSize; uint64(info.Size()) < needed {
		return fmt.Errorf("it has %d bytes of %d", info.Size(), needed)
	}
	if err := checkPages(f, m); err != nil {
		return err
	}
	return half
}

var errNoDatabase = errors.New("it does not begin as a database does")

// readMetas returns the newest meta, and which one is damaged, if one is.
func readMetas(f io.ReaderAt) (newest meta, half, err error) {
	first, firstErr := readMeta(f, 0)
	second, secondErr := meta{}, errNoDatabase
	if firstErr == nil {
		second, secondErr = readMeta(f, int64(first.pageSize))
	}
	for size := int64(minPageSize); firstErr != nil && secondErr != nil && size <= maxPageSize; size *= 2 {
		second, secondErr = readMeta(f, size)
	}
	switch {
	case firstErr != nil && secondErr != nil:
		return meta{}, nil, errNoDatabase
	case firstErr != nil:
		return second, metaError{damaged: 0, meta: second}, nil
	case secondErr != nil:
		return first, metaError{damaged: 1, meta: first}, nil
	case second.transaction > first.transaction:
		return second, nil, nil
	}
	return first, nil, nil
}

// A metaError says that one of the two metas is damaged, and that the other leads to a
// usable database. Which of them is of the last commit cannot be known.
type metaError struct {
	damaged int
	meta    meta
}

func (h metaError) Error() string {
	return "one of its two headers, which may be that of the last change"
}

// goOn says how an operator uses the other one.
func (h metaError) goOn(path string) string {
	return fmt.Sprintf("to go on, perhaps without the last change, put the other header in its place (dd if=%s of=%s bs=%d count=1 skip=%d seek=%d conv=notrunc)",
		messages.ShellQuoted(path), messages.ShellQuoted(path), h.meta.pageSize, 1-h.damaged, h.damaged)
}

// A meta says where everything is.
type meta struct {
	pageSize    uint64
	root        uint64 // the page with the buckets
	freelist    uint64 // the page that lists the free pages
	pages       uint64 // the number of pages
	transaction uint64
}

func readMeta(f io.ReaderAt, at int64) (meta, error) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], at+pageHeader); err != nil {
		return meta{}, errNoDatabase
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	word := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(b[at:])) }
	long := func(at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	m := meta{pageSize: word(8), root: long(16), freelist: long(32), pages: long(40), transaction: long(48)}
	known := word(0) == metaMagic && word(4) == metaFormat && long(56) == sum.Sum64()
	if !known || !m.possible() {
		return meta{}, errNoDatabase
	}
	return m, nil
}

// possible bounds the values of a meta before they are used in computations.
func (m meta) possible() bool {
	powerOfTwo := m.pageSize&(m.pageSize-1) == 0
	return powerOfTwo && m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pages >= 2 && m.pages < 1<<40
}

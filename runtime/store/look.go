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

	"golang.org/x/sys/unix"
)

// What a bbolt file begins with: two pages, each of which may be the newest that
// says how many pages there are.
const (
	pageHeader = 16 // bytes before what a page holds
	metaSize   = 64
	metaMagic  = 0xED0CDAED
	metaFormat = 2
	// maxPageSize bounds where the second page is looked for.
	maxPageSize = 64 << 10
)

// Missing tells whether there is no database in a directory, or one without a
// byte in it, so that Open would make a new one.
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

// look finds out whether a file is a database and all of it is there, before
// anything believes what it says. One that another daemon uses is not looked at.
func look(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // it is new, or opening it tells what is wrong
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		return nil
	}
	needed, err := neededSize(f)
	if err != nil {
		return err
	}
	if uint64(info.Size()) < needed {
		return fmt.Errorf("it has %d bytes of %d", info.Size(), needed)
	}
	return nil
}

var errNoDatabase = errors.New("it does not begin as a database does")

// neededSize is how many bytes a database has.
func neededSize(f io.ReaderAt) (uint64, error) {
	first, ok := readMeta(f, 0)
	second, secondOK := meta{}, false
	for size := int64(4 << 10); !secondOK && size <= maxPageSize; size *= 2 {
		second, secondOK = readMeta(f, size)
	}
	switch {
	case !ok && !secondOK:
		return 0, errNoDatabase
	case !ok || secondOK && second.transaction > first.transaction:
		return second.size, nil
	}
	return first.size, nil
}

// A meta is what such a page says.
type meta struct{ size, transaction uint64 }

func readMeta(f io.ReaderAt, at int64) (m meta, ok bool) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], at+pageHeader); err != nil {
		return m, false
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	word := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(b[at:])) }
	long := func(at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	pageSize := word(8)
	ok = word(0) == metaMagic && word(4) == metaFormat && long(56) == sum.Sum64() && pageSize <= maxPageSize
	return meta{size: long(40) * pageSize, transaction: long(48)}, ok
}

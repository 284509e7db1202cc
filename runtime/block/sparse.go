package block

import (
	"bytes"
	"context"
	"io"
	"os"

	"albatross/runtime/failpoint"
)

// pageSize is the granularity of holes in files, on all usual file systems.
const pageSize = 4096

var zeroPage [pageSize]byte

// fill extends an empty file to size bytes and writes the contents to its beginning. It
// skips zeros, which then take no room on disk.
func fill(ctx context.Context, f *os.File, size int64, contents io.Reader) error {
	// First, to refuse a size that the file system does not support before the contents
	// are read.
	if err := f.Truncate(size); err != nil {
		return err
	}
	failpoint.Here("device/sized")
	buffer := make([]byte, copySize)
	for at := int64(0); at < size; {
		n, end := readFull(ctx, contents, buffer[:min(copySize, size-at)])
		if end != nil && end != io.EOF {
			return end
		}
		if err := writePages(f, buffer[:n], at); err != nil {
			return err
		}
		failpoint.Here("device/part-written")
		if end == io.EOF {
			return nil
		}
		at += int64(n)
	}
	return expectEnd(ctx, contents)
}

// readFull fills b, or returns why not. Unlike io.ReadFull it does not use
// io.ErrUnexpectedEOF for the end, since contents that were cut off may end with that
// error.
func readFull(ctx context.Context, r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}

// expectEnd refuses contents that go on. Reading to the end also lets a compressed stream
// verify its checksum.
func expectEnd(ctx context.Context, r io.Reader) error {
	n, err := readFull(ctx, r, make([]byte, 1))
	switch {
	case n > 0:
		return ErrTooLarge
	case err == io.EOF:
		return nil
	}
	return err
}

// writePages writes b except for its pages of zeros. It begins at a page boundary.
func writePages(f *os.File, b []byte, at int64) error {
	for len(b) > 0 {
		n, zero := run(b)
		if !zero {
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return err
			}
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// run returns the length of the first run of pages in b that are all zero, or all not.
func run(b []byte) (n int, zero bool) {
	for n < len(b) {
		page := b[n:min(n+pageSize, len(b))]
		isZero := bytes.Equal(page, zeroPage[:len(page)])
		if n > 0 && isZero != zero {
			break
		}
		n, zero = n+len(page), isZero
	}
	return n, zero
}

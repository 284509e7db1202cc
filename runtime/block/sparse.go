package block

import (
	"bytes"
	"context"
	"io"
	"os"

	"albatross/runtime/failpoint"
)

// pageSize is what a hole in a file is made of, on all usual file systems.
const pageSize = 4096

var zeroPage [pageSize]byte

// fill makes an empty file one of size bytes that begins with the contents.
// What is zero is not written and takes no room on disk.
func fill(ctx context.Context, f *os.File, size int64, contents io.Reader) error {
	// First, so that a size that the file system does not have is refused before
	// the contents have been read.
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

// readFull fills b, or says why not. Unlike io.ReadFull it never mixes up the
// end, io.EOF, with io.ErrUnexpectedEOF, with which contents that were cut off
// may end.
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

// expectEnd refuses the first byte that is too much. It is also where a
// compressed stream gets to check what it has given.
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

// writePages writes b but for its pages of zeros. It begins on a page.
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

// run is how many bytes b begins with whose pages are all zero, or all are not.
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

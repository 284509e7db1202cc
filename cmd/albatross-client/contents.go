package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
)

// contents are those of a block device, or an image.
type contents struct {
	from io.ReadCloser
	path string
	size int64 // in bytes; -1: unknown, as of a pipe
}

func openContents(path string) (*contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	stat, err := f.Stat()
	switch {
	case err != nil:
		f.Close()
		return nil, unreadable(path, err)
	case stat.IsDir():
		f.Close()
		return nil, inputError(fmt.Sprintf("cannot read %s: it is a directory", escape(path)))
	case stat.Mode().IsRegular():
		return &contents{f, path, stat.Size()}, nil
	}
	return &contents{f, path, -1}, nil
}

// contentsOf returns bytes as contents.
func contentsOf(b []byte) *contents {
	return &contents{from: io.NopCloser(bytes.NewReader(b)), size: int64(len(b))}
}

// empty waits for the first byte, and reports whether there is none. The size does not
// show it: that of a pipe is unknown, and that of a file of the kernel is 0.
func (c *contents) empty() (bool, error) {
	if c.size > 0 {
		return false, nil
	}
	ahead := bufio.NewReader(c.from)
	c.from = struct {
		io.Reader
		io.Closer
	}{ahead, c.from}
	switch _, err := ahead.Peek(1); {
	case err == io.EOF:
		return true, nil
	case err != nil:
		return false, unreadable(c.path, err)
	}
	c.size = -1
	return false, nil
}

// fits reports whether the file is no larger than so many MB, 1 at least, as far as is
// known.
func (c *contents) fits(size int) bool { return (c.size-1)>>20 < int64(size) }

func (c *contents) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	if err != nil && err != io.EOF {
		err = unreadable(c.path, err)
	}
	return n, err
}

func (c *contents) Close() error { return c.from.Close() }

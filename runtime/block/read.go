package block

import (
	"errors"
	"fmt"
	"io"
	"os"

	"albatross/messages"
	"albatross/runtime/compress"
)

// Reader reads the contents of a device: at level 0 as many bytes as its size, at level 1
// to 9 a zlib stream (RFC 1950). A Read processes at most one piece of the file, so that
// a stream to a client reads no faster than the client. The caller closes it.
func (d *Dir) Reader(name messages.Name, level int) (io.ReadCloser, error) {
	if level < compress.None || level > compress.Most {
		return nil, fmt.Errorf("cannot read block device %s: a compression level of %d is not between 0 and 9", name, level)
	}
	f, size, _, err := d.open(name)
	if err != nil {
		return nil, cannot("read", name, err)
	}
	whole := &reader{file: f, name: name, left: size}
	if level == compress.None {
		return whole, nil
	}
	stream, err := compress.Deflate(whole, level)
	if err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{stream, whole}, nil
}

// A reader reads a device.
type reader struct {
	file *os.File
	name messages.Name
	left int64 // bytes to the end
}

func (r *reader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(b[:min(int64(len(b)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // somebody has made it smaller
	}
	if err != nil {
		return n, cannot("read", r.name, err)
	}
	return n, nil
}

func (r *reader) Close() error { return r.file.Close() }

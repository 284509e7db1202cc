package block

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zlib"

	"albatross/messages"
)

// Reader reads the contents of a device, as many bytes as its size: as they are
// at level 0, else as a zlib stream (RFC 1950) of level 1 to 9. A read never
// takes longer than a piece of the file needs, so that whoever streams to a
// client reads when the client wants more. The caller closes it.
func (d *Dir) Reader(name messages.Name, level int) (io.ReadCloser, error) {
	if level < zlib.NoCompression || level > zlib.BestCompression {
		return nil, fmt.Errorf("cannot read block device %s: a compression level of %d is not between 0 and 9", name, level)
	}
	f, size, _, err := d.open(name)
	if err != nil {
		return nil, cannot("read", name, err)
	}
	whole := &reader{file: f, name: name, left: size}
	if level == zlib.NoCompression {
		return whole, nil
	}
	return newDeflater(whole, level)
}

// A reader reads a device.
type reader struct {
	file *os.File
	name messages.Name
	left int64 // bytes up to the end
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

// A deflater compresses what it reads, a piece at a time.
type deflater struct {
	source *reader
	piece  []byte
	z      *zlib.Writer
	out    bytes.Buffer // what z has made of a piece
	ended  bool
}

func newDeflater(source *reader, level int) (*deflater, error) {
	d := &deflater{source: source, piece: make([]byte, copySize)}
	var err error
	if d.z, err = zlib.NewWriterLevel(&d.out, level); err != nil {
		_ = source.Close()
		return nil, fmt.Errorf("internal error: cannot compress: %w", err)
	}
	return d, nil
}

func (d *deflater) Read(b []byte) (int, error) {
	for d.out.Len() == 0 && !d.ended {
		if err := d.deflate(); err != nil {
			return 0, err
		}
	}
	return d.out.Read(b)
}

// deflate compresses one piece more.
func (d *deflater) deflate() error {
	n, err := d.source.Read(d.piece)
	if err == io.EOF {
		d.ended = true
		return d.z.Close()
	}
	if err != nil {
		return err
	}
	_, err = d.z.Write(d.piece[:n])
	return err
}

func (d *deflater) Close() error { return d.source.Close() }

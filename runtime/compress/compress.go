// Package compress makes and reads zlib streams (RFC 1950), as images and block devices
// travel. It holds no more than a piece of a stream in memory.
package compress

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

// The levels of compression. At None there is no stream, but the plain bytes.
const (
	None = zlib.NoCompression
	Most = zlib.BestCompression
)

// pieceSize is how much is compressed at once.
const pieceSize = 64 << 10

// Deflate returns what r yields as a zlib stream, made while it is read. A Read processes
// at most one piece of r. An error of r is passed on as it is.
func Deflate(r io.Reader, level int) (io.Reader, error) {
	d := &deflater{source: r, piece: make([]byte, pieceSize)}
	var err error
	if d.z, err = zlib.NewWriterLevel(&d.out, level); err != nil {
		return nil, fmt.Errorf("internal error: cannot compress at level %d: %w", level, err)
	}
	return d, nil
}

// Bound returns the most bytes of a stream that Deflate makes of so many; at None, their
// number.
func Bound(size int64, level int) int64 {
	if level == None {
		return size
	}
	return size + size/1000 + 64
}

// ReadAll reads a stream of at most so many bytes, into a buffer that does not grow.
func ReadAll(r io.Reader, most int64) ([]byte, error) {
	all := bytes.NewBuffer(make([]byte, 0, most+bytes.MinRead)) // it wants that much room to see the end
	_, err := all.ReadFrom(r)
	return all.Bytes(), err
}

// A deflater compresses what it reads, a piece at a time.
type deflater struct {
	source io.Reader
	piece  []byte
	z      *zlib.Writer // writes to out
	out    bytes.Buffer // the compressed piece
	ended  bool
}

func (d *deflater) Read(b []byte) (int, error) {
	for d.out.Len() == 0 && !d.ended {
		if err := d.deflate(); err != nil {
			return 0, err
		}
	}
	return d.out.Read(b)
}

// deflate compresses the next piece.
func (d *deflater) deflate() error {
	n, err := d.source.Read(d.piece)
	if _, err := d.z.Write(d.piece[:n]); err != nil {
		return err
	}
	if err == io.EOF {
		d.ended = true
		return d.z.Close()
	}
	return err
}

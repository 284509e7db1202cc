// Package compress makes zlib streams (RFC 1950) and reads them: images and block
// devices travel as such. However long a stream is, no more of it is in memory than
// a piece.
package compress

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

// The levels of compression. At None nothing is compressed, and there is no stream.
const (
	None = zlib.NoCompression
	Most = zlib.BestCompression
)

// pieceSize is how much is compressed at once.
const pieceSize = 64 << 10

// Deflate is what r yields as a zlib stream, made while it is read. A read never
// takes longer than a piece of r needs. An error of r is passed on as it is.
func Deflate(r io.Reader, level int) (io.Reader, error) {
	d := &deflater{source: r, piece: make([]byte, pieceSize)}
	var err error
	if d.z, err = zlib.NewWriterLevel(&d.out, level); err != nil {
		return nil, fmt.Errorf("internal error: cannot compress at level %d: %w", level, err)
	}
	return d, nil
}

// A deflater compresses what it reads, a piece at a time.
type deflater struct {
	source io.Reader
	piece  []byte
	z      *zlib.Writer // writes to out
	out    bytes.Buffer // what z has made of a piece
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

// deflate compresses one piece more.
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

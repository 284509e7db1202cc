package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"

	"albatross/sockets/client"
)

// compress is a zlib stream of an image.
func compress(data []byte, level int) ([]byte, error) {
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot compress at level %d: %w", level, err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("cannot compress the image: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress the image: %w", err)
	}
	return out.Bytes(), nil
}

// A deflater reads what another reader yields, as a zlib stream. It holds no more
// than what becomes of one piece.
type deflater struct {
	source io.Reader
	zlib   *zlib.Writer // writes to out
	out    bytes.Buffer
	piece  []byte
	ended  bool
}

// pieceSize is how much is compressed at once.
const pieceSize = 64 << 10

func newDeflater(source io.Reader, level int) (*deflater, error) {
	d := &deflater{source: source, piece: make([]byte, pieceSize)}
	w, err := zlib.NewWriterLevel(&d.out, level)
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot compress at level %d: %w", level, err)
	}
	d.zlib = w
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

// deflate compresses the next piece.
func (d *deflater) deflate() error {
	n, err := d.source.Read(d.piece)
	if _, err := d.zlib.Write(d.piece[:n]); err != nil {
		return err
	}
	if err == io.EOF {
		d.ended = true
		return d.zlib.Close()
	}
	return err
}

// An inflater reads what a zlib stream expands to.
type inflater struct {
	source *bufio.Reader
	zlib   io.Reader
}

// inflate reads a zlib stream, which must be all that source yields.
func inflate(source io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(source, pieceSize) // zlib takes no byte more than it needs
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, inflateError(err)
	}
	return &inflater{in, z}, nil
}

func (i *inflater) Read(b []byte) (int, error) {
	n, err := i.zlib.Read(b)
	switch err {
	case nil:
	case io.EOF:
		err = i.end()
	default:
		err = inflateError(err)
	}
	return n, err
}

// end is io.EOF where nothing comes behind the zlib stream.
func (i *inflater) end() error {
	_, err := i.source.ReadByte()
	if err == nil {
		return inflateError(errors.New("something comes behind its end"))
	}
	return err
}

// inflateError is what is wrong with a zlib stream. That there is no more of it is
// wrong with whoever sends it.
func inflateError(err error) error {
	if broken := new(client.ProtocolError); errors.As(err, &broken) {
		return err
	}
	return fmt.Errorf("%w: %w", errInflate, err)
}

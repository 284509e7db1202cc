package compress

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

// A DamagedError reports data that is no zlib stream, or not a whole one, or that goes on
// after its end.
type DamagedError struct {
	What string // that was to be decompressed
	Err  error
}

func (d *DamagedError) Error() string { return fmt.Sprintf("cannot decompress %s: %v", d.What, d.Err) }

func (d *DamagedError) Unwrap() error { return d.Err }

var errBehind = errors.New("something comes behind its end")

// Inflate returns the decompressed contents of the zlib stream in r. A damaged stream
// ends with a DamagedError, which calls it what; an error of r itself is passed on as it
// is. A small stream may become a large one: the reader must limit it.
func Inflate(r io.Reader, what string) io.Reader {
	i := &inflater{what: what}
	i.source.r = r
	i.in = bufio.NewReaderSize(&i.source, pieceSize) // so that zlib reads no byte too many
	return i
}

// An inflater reads from r only when it is read itself: r may block.
type inflater struct {
	what   string
	source source
	in     *bufio.Reader
	z      io.Reader // nil before the first read
	err    error     // of all further reads
}

// A source remembers an error of the reader, to tell it from damaged data.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != io.EOF {
		s.err = err
	}
	return n, err
}

func (i *inflater) Read(b []byte) (n int, err error) {
	if i.err != nil {
		return 0, i.err
	}
	n, i.err = i.inflate(b)
	switch {
	case i.err == nil, i.err == io.EOF:
	case i.source.err != nil:
		i.err = i.source.err
	default:
		i.err = &DamagedError{i.what, i.err}
	}
	return n, i.err
}

func (i *inflater) inflate(b []byte) (n int, err error) {
	if i.z == nil {
		if i.z, err = zlib.NewReader(i.in); err != nil {
			return 0, err
		}
	}
	n, err = i.z.Read(b)
	if err == io.EOF {
		err = i.expectEnd()
	}
	return n, err
}

// expectEnd returns io.EOF if nothing follows.
func (i *inflater) expectEnd() error {
	_, err := i.in.ReadByte()
	if err == nil {
		return errBehind
	}
	return err
}

package block

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

var errBehind = errors.New("something comes behind its end")

// Inflate is what the zlib stream (RFC 1950) in r was made of. A stream that is
// damaged, cut off, or has something behind its end ends with an error that
// says so; an error of r itself is passed on as it is. How much a stream becomes
// is limited by whoever reads it.
func Inflate(r io.Reader) io.Reader {
	i := &inflater{}
	i.source.r = r
	i.in = bufio.NewReaderSize(&i.source, 64<<10)
	return i
}

// An inflater reads nothing before it is read: r may have to be waited for.
type inflater struct {
	source source
	in     *bufio.Reader
	z      io.Reader // nil before the first read
	err    error     // the error of all further reads
}

// A source remembers an error that is not one of the compressed data.
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
		i.err = fmt.Errorf("cannot decompress contents: %w", i.err)
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

// expectEnd is io.EOF where nothing follows.
func (i *inflater) expectEnd() error {
	_, err := i.in.ReadByte()
	if err == nil {
		return errBehind
	}
	return err
}

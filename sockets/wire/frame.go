package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"albatross/messages"
)

// A frame is a length of four bytes, big-endian, and that many bytes. Messages
// and the chunks of a stream travel in the same kind of frame: which of them is
// expected follows from what was said before.
const headerLen = 4

// Limits of frames.
const (
	// MaxFrame is for who accepts images: the largest message is a create with
	// its image inside. Native has no limit but the 31 bits of a length. Images
	// are a few dozen MB; 1 GiB less the frame header is what a careful receiver
	// is asked for at most.
	MaxFrame = 1<<30 - headerLen

	// MaxCommand is for who accepts no image: all other commands are a few
	// hundred bytes, but arguments may be long, and so may a list of names.
	MaxCommand = 1 << 20

	// ChunkSize is how much of a stream is written at once.
	ChunkSize = 1 << 16

	// MaxChunk is for who reads a stream: native writes chunks of 64 KiB or less,
	// others may prefer them larger.
	MaxChunk = 1 << 22
)

// growth is how much memory a frame is given before any byte of it has arrived.
const growth = 64 << 10

// ErrEnd marks the end that the other side has told: of the stream that runs,
// else of the connection.
var ErrEnd = errors.New("end of stream")

// ErrTooLong is the reason why a frame is not read that is longer than whoever
// expects it wants to hold.
var ErrTooLong = errors.New("frame is too long")

// ReadFrame reads one frame, whose length must not be above max: more is an
// error before anything else is read. Memory is used only for bytes that have
// arrived, so a long frame that is only announced costs nothing.
//
// The error is ErrEnd for the mark that ends a stream, ErrTooLong, io.EOF where
// the connection ends between frames, and io.ErrUnexpectedEOF where it ends
// inside.
func ReadFrame(r io.Reader, max int) ([]byte, error) {
	return ReadFrameWithin(r, max, func(int, int) error { return nil })
}

// ReadFrameWithin is ReadFrame for who counts memory: hold is called before a
// buffer of so many bytes is made beside another one, and with 0 for the second
// when that is not needed any more. An error of it ends the reading.
func ReadFrameWithin(r io.Reader, max int, hold func(bytes, beside int) error) ([]byte, error) {
	var head [headerLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	// Native reads the length as a signed number, and ends at any below 1.
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n <= 0 {
		return nil, ErrEnd
	}
	if n > max {
		return nil, fmt.Errorf("cannot read frame: %w: %d bytes are announced, at most %d are accepted", ErrTooLong, n, max)
	}
	return readBody(r, n, hold)
}

// readBody reads n bytes. There is never more memory than growth, or three times
// what has arrived: a buffer that is full is copied to one that is twice as large.
func readBody(r io.Reader, n int, hold func(bytes, beside int) error) ([]byte, error) {
	body := make([]byte, 0, min(n, growth))
	for {
		part := body[len(body):cap(body)]
		got, err := io.ReadFull(r, part)
		body = body[:len(body)+got]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if len(body) == n {
			return body, nil
		}
		size := min(n, 2*cap(body))
		if err := hold(size, cap(body)); err != nil {
			return nil, err
		}
		larger := make([]byte, len(body), size)
		copy(larger, body)
		body = larger
		if err := hold(size, 0); err != nil {
			return nil, err
		}
	}
}

// WriteFrame writes a message as one frame, with one Write.
func WriteFrame(w io.Writer, m messages.Wire) error {
	frame, err := AppendFrame(nil, m)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// AppendFrame appends a message as one frame to dst, for who writes several
// messages at once.
func AppendFrame(dst []byte, m messages.Wire) ([]byte, error) {
	e := newEncoder(m.Header.Version)
	if err := e.frame(dst, m); err != nil {
		return dst, err
	}
	return e.out, nil
}

// AppendPieces appends a message as one frame to what is to be written with
// net.Buffers: pieces that this has made, or none. An image or contents of a
// block device in it are not copied, but a piece of their own.
func AppendPieces(pieces [][]byte, m messages.Wire) ([][]byte, error) {
	e := newEncoder(m.Header.Version)
	e.cutting = true
	before := max(0, len(pieces)-1)
	var last []byte // ours: what is small is put together in it
	if len(pieces) > 0 {
		last = pieces[before]
	}
	if err := e.frame(last, m); err != nil {
		return pieces, err
	}
	return append(pieces[:before], e.pieces()...), nil
}

// Around returns a message as one frame, without the image in it, which is not here:
// size bytes of it belong between what is returned.
func Around(m messages.Wire, size int) (before, behind []byte, err error) {
	e := newEncoder(m.Header.Version)
	e.absent = size
	if err := e.frame(nil, m); err != nil {
		return nil, nil, err
	}
	if len(e.cuts) == 0 {
		return e.out, nil, nil
	}
	return e.out[:e.cuts[0].at], e.out[e.cuts[0].at:], nil
}

func (e *encoder) frame(dst []byte, m messages.Wire) error {
	e.size = headerLen
	e.wire(m)
	length := e.size - headerLen
	if length > MaxFrame {
		return fmt.Errorf("cannot encode message: its %d bytes do not fit in a frame", length)
	}
	if err := e.startWriting(dst); err != nil {
		return err
	}
	e.out = binary.BigEndian.AppendUint32(e.out, uint32(length))
	e.wire(m)
	return nil
}

// ReadChunk reads the next chunk of a stream of raw bytes, at most MaxChunk of
// them. The error is ErrEnd at its end.
func ReadChunk(r io.Reader) ([]byte, error) {
	chunk, err := ReadFrame(r, MaxChunk)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // a stream ends with a mark only
	}
	return chunk, err
}

// A ChunkReader is a stream of raw bytes without its framing. It holds nothing,
// so a chunk may be as long as a frame can tell.
type ChunkReader struct {
	r    io.Reader
	left int // of the chunk that is being read
}

// NewChunkReader reads the stream that begins in r.
func NewChunkReader(r io.Reader) *ChunkReader { return &ChunkReader{r: r} }

// Read reads some bytes. The error is io.EOF where the end is marked, and
// io.ErrUnexpectedEOF where the connection ends before.
func (c *ChunkReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(b[:min(len(b), c.left)])
	c.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the header of a chunk.
func (c *ChunkReader) next() error {
	var head [headerLen]byte
	_, err := io.ReadFull(c.r, head[:])
	switch {
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	if c.left = int(int32(binary.BigEndian.Uint32(head[:]))); c.left <= 0 {
		c.left = 0
		return io.EOF
	}
	return nil
}

// WriteChunk writes a chunk of a stream of raw bytes, with one Write. An empty
// chunk is not written, since it would mark the end.
func WriteChunk(w io.Writer, chunk []byte) error {
	if len(chunk) == 0 {
		return nil
	}
	if len(chunk) > MaxChunk {
		return fmt.Errorf("internal error: cannot write a chunk of %d bytes", len(chunk))
	}
	frame := bytes.NewBuffer(make([]byte, 0, headerLen+len(chunk)))
	frame.Write(binary.BigEndian.AppendUint32(frame.AvailableBuffer(), uint32(len(chunk))))
	frame.Write(chunk)
	_, err := w.Write(frame.Bytes())
	return err
}

// WriteEnd marks the end of a stream.
func WriteEnd(w io.Writer) error {
	_, err := w.Write(make([]byte, headerLen))
	return err
}

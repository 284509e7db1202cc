package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"albatross/messages"
)

// A frame is a length of four bytes, big-endian, and that many bytes. Messages and the
// chunks of a stream travel in the same kind of frame: which is expected follows from the
// command.
const headerLen = 4

// Limits of frames.
const (
	// MaxFrame is for receivers of images: the largest message is a create with its
	// image. The only limit of native is the 31 bits of a length. Images are a few dozen
	// MB; nobody should send a careful receiver more than 1 GiB less the frame header.
	MaxFrame = 1<<30 - headerLen

	// MaxCommand is for receivers without images: all other commands are a few hundred
	// bytes, but arguments and lists of names may be long.
	MaxCommand = 1 << 20

	// ChunkSize is how much of a stream is written at once.
	ChunkSize = 1 << 16

	// MaxChunk is for receivers of a stream: native writes chunks of 64 KiB or less,
	// others may prefer larger ones.
	MaxChunk = 1 << 22
)

// growth is the first size of a frame's buffer.
const growth = 64 << 10

// ErrEnd reports the other side's end mark: of the current stream, else of the
// connection.
var ErrEnd = errors.New("end of stream")

// ErrTooLong refuses a frame that is longer than its receiver allows.
var ErrTooLong = errors.New("frame is too long")

// ReadFrame reads one frame, whose announced length must not exceed max. It uses memory
// only for bytes that have arrived, so announcing a long frame costs nothing.
//
// It returns ErrEnd for the end mark of a stream, ErrTooLong, io.EOF if the connection
// ends between frames, and io.ErrUnexpectedEOF if it ends inside one.
func ReadFrame(r io.Reader, max int) ([]byte, error) {
	return ReadFrameWithin(r, max, anything)
}

func anything(int, int) error { return nil }

// A FrameBuffer reads many frames into the same memory.
type FrameBuffer struct{ memory []byte }

// Read is ReadFrame. The frame is valid until the next call.
func (f *FrameBuffer) Read(r io.Reader, max int) ([]byte, error) {
	n, err := readLength(r, max)
	if err != nil {
		return nil, err
	}
	if f.memory == nil {
		f.memory = make([]byte, growth)
	}
	frame, err := readBody(r, n, f.memory[:0:min(n, cap(f.memory))], anything)
	if cap(frame) > cap(f.memory) {
		f.memory = frame
	}
	return frame, err
}

// ReadFrameWithin is ReadFrame for receivers that count memory: it calls hold before it
// makes a buffer of so many bytes beside another one, and with 0 for the second when that
// is free again. An error of hold ends the reading.
func ReadFrameWithin(r io.Reader, max int, hold func(bytes, beside int) error) ([]byte, error) {
	n, err := readLength(r, max)
	if err != nil {
		return nil, err
	}
	return readBody(r, n, make([]byte, 0, min(n, growth)), hold)
}

// readLength reads the header of a frame.
func readLength(r io.Reader, max int) (n int, err error) {
	var head [headerLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	// Native reads a signed length, and takes any below 1 for the end mark.
	n = int(int32(binary.BigEndian.Uint32(head[:])))
	if n <= 0 {
		return 0, ErrEnd
	}
	if n > max {
		return 0, fmt.Errorf("cannot read frame: %w: %d bytes are announced, at most %d are accepted", ErrTooLong, n, max)
	}
	return n, nil
}

// readBody reads n bytes, at first into an empty body. It never uses more memory than that, or three
// times what has arrived: it copies a full buffer to one twice as large.
func readBody(r io.Reader, n int, body []byte, hold func(bytes, beside int) error) ([]byte, error) {
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

// AppendFrame appends a message as one frame to dst, for several messages in one write.
func AppendFrame(dst []byte, m messages.Wire) ([]byte, error) {
	e := newEncoder(m.Header.Version)
	if err := e.frame(dst, m); err != nil {
		return dst, err
	}
	return e.out, nil
}

// AppendPieces appends a message as one frame to pieces for net.Buffers, which must be
// its own or none. An image or contents of a block device become a piece without being
// copied.
func AppendPieces(pieces [][]byte, m messages.Wire) ([][]byte, error) {
	return Measure(m).AppendPieces(pieces)
}

// A Measured is a message as one frame that is not made yet, so that memory for it can be reserved
// before.
type Measured struct {
	m messages.Wire
	e encoder
}

// Measure measures a message.
func Measure(m messages.Wire) *Measured {
	x := &Measured{m, newEncoder(m.Header.Version)}
	x.e.cutting = true
	x.e.measure(m)
	return x
}

// Size returns how many bytes AppendPieces makes, without the image or the contents of a block
// device, which stay where they are. It is 0 if the message cannot be encoded.
func (x *Measured) Size() int {
	if x.e.err != nil {
		return 0
	}
	return x.e.size - x.e.cut
}

// AppendPieces is the function of that name, once.
func (x *Measured) AppendPieces(pieces [][]byte) ([][]byte, error) {
	before := max(0, len(pieces)-1)
	var last []byte // ours: it collects small parts
	if len(pieces) > 0 {
		last = pieces[before]
	}
	if err := x.e.write(last, x.m); err != nil {
		return pieces, err
	}
	return append(pieces[:before], x.e.pieces()...), nil
}

// Around returns a message as one frame, without its image of size bytes, which belongs
// between the two results.
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
	e.measure(m)
	return e.write(dst, m)
}

// measure measures a frame.
func (e *encoder) measure(m messages.Wire) {
	e.size = headerLen
	e.wire(m)
}

// write appends a frame that is measured.
func (e *encoder) write(dst []byte, m messages.Wire) error {
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

// ReadChunk reads the next chunk of a stream of raw bytes, at most MaxChunk of them. It
// returns ErrEnd at the end.
func ReadChunk(r io.Reader) ([]byte, error) {
	chunk, err := ReadFrame(r, MaxChunk)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // a stream ends with a mark only
	}
	return chunk, err
}

// A ChunkReader reads a stream of raw bytes without its framing. It buffers nothing, so a
// chunk may have any length.
type ChunkReader struct {
	r    io.Reader
	left int // of the current chunk
}

// NewChunkReader reads the stream that begins in r.
func NewChunkReader(r io.Reader) *ChunkReader { return &ChunkReader{r: r} }

// Read reads some bytes. It returns io.EOF at the end mark, and io.ErrUnexpectedEOF if
// the connection ends before.
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

// WriteChunk writes a chunk of a stream of raw bytes, with one Write. It ignores an empty
// chunk, which would mark the end.
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

// A ChunkBuffer holds one chunk of a stream at a time, behind its header.
type ChunkBuffer struct{ memory [headerLen + ChunkSize]byte }

// Room returns where the next chunk belongs.
func (b *ChunkBuffer) Room() []byte { return b.memory[headerLen:] }

// Write writes the first n bytes of Room as WriteChunk does, without a copy.
func (b *ChunkBuffer) Write(w io.Writer, n int) error {
	if n == 0 {
		return nil
	}
	binary.BigEndian.PutUint32(b.memory[:], uint32(n))
	_, err := w.Write(b.memory[:headerLen+n])
	return err
}

// AppendStream appends a stream of one chunk to pieces, which does not copy the chunk.
func AppendStream(pieces [][]byte, chunk []byte) [][]byte {
	if len(chunk) > 0 {
		pieces = append(pieces, binary.BigEndian.AppendUint32(nil, uint32(len(chunk))), chunk)
	}
	return append(pieces, make([]byte, headerLen))
}

// WriteEnd marks the end of a stream.
func WriteEnd(w io.Writer) error {
	_, err := w.Write(make([]byte, headerLen))
	return err
}

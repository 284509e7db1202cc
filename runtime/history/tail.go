package history

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// A tail is the end of a unikernel's output: at most Lines lines, and the incomplete one.
type tail struct {
	lines    []line // the oldest is at first
	first    int
	count    int // lines ever added
	splitter splitter
	at       time.Time // when the last byte came
}

type line struct {
	at   time.Time
	kept []byte
}

// pieceSize bounds how much of a file is in memory while it is read.
const pieceSize = 16 << 10

// read adds what frames contain. It reports whether data consists of frames only.
func (t *tail) read(data []byte) (whole bool) {
	whole, _ = t.readFrom(bytes.NewReader(data)) // memory does not fail
	return whole
}

// readFrom is read for a file.
func (t *tail) readFrom(r io.Reader) (whole bool, err error) {
	frames := bufio.NewReaderSize(r, pieceSize)
	for {
		header, err := frames.Peek(headerSize)
		if len(header) == 0 || err != nil && !errors.Is(err, io.EOF) {
			return errors.Is(err, io.EOF), notEOF(err)
		}
		at, size, ok := parseHeader(header)
		if !ok {
			return false, nil
		}
		_, _ = frames.Discard(headerSize) // Peek has read it
		if left, err := t.feedFrom(frames, size, at); left > 0 || err != nil {
			return false, err
		}
	}
}

// feedFrom adds the bytes of a frame, and returns how many are missing.
func (t *tail) feedFrom(frames *bufio.Reader, size int, at time.Time) (left int, err error) {
	for size > 0 {
		piece, err := frames.Peek(min(size, pieceSize))
		if len(piece) == 0 || err != nil && !errors.Is(err, io.EOF) {
			return size, notEOF(err)
		}
		t.feed(piece, at)
		_, _ = frames.Discard(len(piece))
		size -= len(piece)
	}
	return 0, nil
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// feed adds bytes as they came out of a pipe.
func (t *tail) feed(raw []byte, at time.Time) {
	t.at = at
	t.splitter.feed(raw, func(kept []byte) { t.add(kept, at) })
}

// add reuses the memory of the line that it drops.
func (t *tail) add(kept []byte, at time.Time) {
	t.count++
	if len(t.lines) < Lines {
		t.lines = append(t.lines, line{at, append([]byte(nil), kept...)})
		return
	}
	l := &t.lines[t.first]
	l.at, l.kept = at, append(l.kept[:0], kept...)
	t.first = (t.first + 1) % Lines
}

// each calls do with the lines, the oldest first.
func (t *tail) each(do func(line)) {
	for i := range t.lines {
		do(t.lines[(t.first+i)%len(t.lines)])
	}
}

// frames returns frames that read turns into the same tail. Lines of the same time share
// a frame, and there are many such lines in a flood.
func (t *tail) frames() (frames []byte) {
	var raw []byte
	var at time.Time
	flush := func() {
		if len(raw) > 0 {
			frames = appendFrame(frames, raw, at)
		}
		raw = raw[:0]
	}
	t.each(func(l line) {
		if !l.at.Equal(at) {
			flush()
			at = l.at
		}
		raw = append(append(raw, l.kept...), '\n')
	})
	if t.splitter.skipping { // the newline of the last line has not come
		raw = raw[:len(raw)-1]
	}
	flush()
	if raw, at = t.splitter.partial, t.at; len(raw) > 0 {
		frames = appendFrame(frames, raw, at)
	}
	return frames
}

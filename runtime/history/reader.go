package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"albatross/messages"
)

// batchSize bounds the lines that a Reader returns at once: what they take for a client. A
// line takes lineCost besides its text.
const (
	batchSize = 32 << 10
	lineCost  = 64
)

// A Reader reads the lines of a log in order, from its files: lines wait for it there, and not
// in memory. It reads beside Take, and delays it only for a moment. A reader that is far behind
// misses lines; see backlog.
//
// Its methods belong to one goroutine, except for Next. A reader ends with Close, or with its log.
type Reader struct {
	log  *Log
	next atomic.Int64 // see Next

	// Where it reads.
	file     *file     // nil: that must be found
	at       int64     // the offset of what comes next
	number   int       // of the line to which that belongs; those before next are skipped
	left     int       // bytes of the current frame that come next
	time     time.Time // when those came
	splitter splitter
}

// Next returns the number of the line that Read returns next, if that is not lost.
func (r *Reader) Next() int { return int(r.next.Load()) }

// FollowLast returns a reader that begins with the last n lines. There are at most Lines of
// them; a negative n asks for all, as natively.
func (l *Log) FollowLast(n int) *Reader {
	if n < 0 || n > l.dir.lines {
		n = l.dir.lines
	}
	return l.follow(func() int { return max(l.oldest(), l.Next()-n) })
}

// FollowSince returns a reader that begins with the first of the last Lines lines that is not
// older than t. If the clock was set back afterwards, later lines may be older: better too many
// than too few.
func (l *Log) FollowSince(t time.Time) *Reader {
	end := 0
	r := l.follow(func() int { end = l.Next(); return l.oldest() })
	ahead := &Reader{log: l} // r stays, so that its lines do
	ahead.seek(r.Next())
	for {
		lines, missed := ahead.Read(end)
		i := slices.IndexFunc(lines, func(line messages.ConsoleLine) bool { return !line.Time.Before(t) })
		if i >= 0 {
			r.seek(ahead.Next() - len(lines) + i)
			return r
		}
		if len(lines)+missed == 0 {
			r.seek(end)
			return r
		}
	}
}

// FollowFrom returns a reader that goes on where another one has stopped.
func (l *Log) FollowFrom(next int) *Reader {
	return l.follow(func() int { return min(next, l.Next()) })
}

// follow makes a reader. Lines that come after the call of start are kept for it. That of a closed
// log has nothing to read.
func (l *Log) follow(start func() int) *Reader {
	r := &Reader{log: l}
	if err := l.lock(); err != nil {
		r.seek(l.Next())
		return r
	}
	defer l.mu.Unlock()
	l.open(0)
	r.seek(start())
	l.dir.backlog.add(r)
	return r
}

// oldest returns the number of the first of the last Lines lines.
func (l *Log) oldest() int {
	switch {
	case l.memory != nil:
		return l.Next() - min(l.dir.lines, len(l.memory.lines))
	case l.file != nil:
		return max(l.file.first, l.Next()-l.dir.lines)
	}
	return l.Next()
}

// Empty reports whether no line is there.
func (l *Log) Empty() bool {
	if err := l.lock(); err != nil {
		return true
	}
	defer l.mu.Unlock()
	l.open(0)
	return l.oldest() == l.Next()
}

// Close ends the reader.
func (r *Reader) Close() {
	r.log.dir.backlog.remove(r.log, func(other *Reader) bool { return other == r })
}

// seek makes a line the next one.
func (r *Reader) seek(number int) {
	r.next.Store(int64(number))
	r.file = nil
}

// Read returns some of the next lines before number until, and how many before them are lost. It
// returns nothing if the log is closed, or if there is nothing to read.
func (r *Reader) Read(until int) (lines []messages.ConsoleLine, missed int) {
	until = min(until, r.log.Next())
	b := batches.Get().(*batch)
	defer batches.Put(b)
	b.begin(until - r.Next())
	for b.empty() && r.Next() < until {
		if r.file == nil || r.Next() >= int(r.file.next.Load()) {
			lost, ok := r.find(b, until)
			if !ok {
				break
			}
			missed += lost
			continue
		}
		if err := r.scan(b, until); err != nil && b.empty() {
			missed += r.leave(err)
		}
	}
	return b.result(), missed
}

// find finds the next line, and returns how many before it are lost. If it is in memory, find
// reads from there. It returns not ok if the log is closed.
func (r *Reader) find(b *batch, until int) (lost int, ok bool) {
	l := r.log
	if err := l.lock(); err != nil {
		return 0, false
	}
	defer l.mu.Unlock()
	l.open(0)
	defer l.dir.backlog.release(l)
	next := r.Next()
	if f := l.holding(next); f != nil {
		lost = max(0, f.first-next)
		r.seek(next + lost)
		r.file, r.at, r.number, r.left, r.splitter = f, 0, f.first, 0, splitter{}
		return lost, true
	}
	first := until
	if l.memory != nil {
		first = l.Next() - len(l.memory.lines)
	}
	lost = max(0, min(first, until)-next)
	r.seek(next + lost)
	if l.memory != nil {
		r.readMemory(b, first, until)
	}
	return lost, true
}

// readMemory reads lines from memory, where the first one has a number.
func (r *Reader) readMemory(b *batch, number, until int) {
	from := r.Next()
	r.log.memory.each(func(l line) {
		if number >= from && number < until && !b.full() {
			b.add(l.kept, l.at)
			r.seek(number + 1)
		}
		number++
	})
}

// holding returns the file with a line, or the next file if that line is lost; nil if the line
// is in no file. The caller holds the lock of the log.
func (l *Log) holding(number int) *file {
	for _, f := range append(l.dir.backlog.filesOf(l), l.file) {
		if f != nil && number < int(f.next.Load()) {
			return f
		}
	}
	return nil
}

// scan reads from the file that has the next line.
func (r *Reader) scan(b *batch, until int) error {
	from := r.Next()
	defer func() { r.next.Store(int64(max(from, r.number))) }()
	until = min(until, int(r.file.next.Load()))
	frames := b.frames
	frames.Reset(io.NewSectionReader(r.file, r.at, r.file.shown.Load()-r.at))
	keep := func(kept []byte) {
		if r.number >= from {
			b.add(kept, r.time)
		}
		r.number++
	}
	for r.number < until && !b.full() {
		if r.left == 0 {
			if err := r.begin(frames); err != nil {
				return err
			}
			continue
		}
		piece, err := frames.Peek(min(r.left, frames.Size()))
		if len(piece) == 0 {
			return err
		}
		rest := piece
		for len(rest) > 0 && r.number < until && !b.full() {
			rest = r.splitter.step(rest, keep)
		}
		n := len(piece) - len(rest)
		r.at += int64(n)
		r.left -= n
		_, _ = frames.Discard(n) // Peek has read it
	}
	return nil
}

var errDamaged = errors.New("the file was changed by somebody else")

// begin reads the header of a frame.
func (r *Reader) begin(frames *bufio.Reader) error {
	header, err := frames.Peek(headerSize)
	if err != nil {
		return err
	}
	at, size, ok := parseHeader(header)
	if !ok {
		return errDamaged
	}
	_, _ = frames.Discard(headerSize) // Peek has read it
	r.at += headerSize
	r.time, r.left = at, size
	return nil
}

// leave leaves a file, and returns how many lines are lost: none if it was closed because they
// are somewhere else, or too many.
func (r *Reader) leave(err error) (lost int) {
	if errors.Is(err, os.ErrClosed) {
		r.file = nil
		return 0
	}
	r.log.onError(fmt.Errorf("cannot read history of console %s: %w", r.log.name, err))
	next := int(r.file.next.Load())
	lost = next - r.Next()
	r.seek(next)
	return lost
}

// A batch collects lines. Its texts become one string, which costs less than one for each line.
type batch struct {
	lines  []messages.ConsoleLine
	ends   []int // of the texts
	text   []byte
	frames *bufio.Reader
}

// batches are used again and again: a reader needs one only while it reads.
var batches = sync.Pool{New: func() any { return &batch{frames: bufio.NewReaderSize(nil, pieceSize)} }}

// begin makes room for at most some lines.
func (b *batch) begin(most int) {
	b.lines = make([]messages.ConsoleLine, 0, max(0, min(most, batchSize/lineCost)))
	b.ends, b.text = b.ends[:0], b.text[:0]
}

func (b *batch) empty() bool { return len(b.lines) == 0 }

func (b *batch) full() bool { return len(b.text)+lineCost*len(b.lines) >= batchSize }

func (b *batch) add(kept []byte, at time.Time) {
	b.text = appendText(b.text, kept)
	b.lines = append(b.lines, messages.ConsoleLine{Time: at})
	b.ends = append(b.ends, len(b.text))
}

func (b *batch) result() []messages.ConsoleLine {
	lines := b.lines
	b.lines = nil
	if len(lines) == 0 {
		return nil
	}
	text, from := string(b.text), 0
	for i, end := range b.ends {
		lines[i].Text = text[from:end]
		from = end
	}
	return lines
}

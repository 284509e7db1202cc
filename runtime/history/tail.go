package history

import (
	"time"

	"albatross/messages"
)

// A tail is the end of a unikernel's output: at most Lines lines, and the incomplete one.
type tail struct {
	lines    []line // the oldest is at first
	first    int
	splitter splitter
	at       time.Time // when the last byte came
}

type line struct {
	at   time.Time
	kept []byte
}

// read adds what frames contain. It reports whether data consists of frames only.
func (t *tail) read(data []byte) (whole bool) {
	for len(data) > 0 {
		at, size, ok := parseHeader(data)
		if !ok {
			return false
		}
		data = data[headerSize:]
		if size > len(data) {
			t.feed(data, at)
			return false
		}
		t.feed(data[:size], at)
		data = data[size:]
	}
	return true
}

// feed adds bytes as they came out of a pipe.
func (t *tail) feed(raw []byte, at time.Time) {
	t.at = at
	t.splitter.feed(raw, func(kept []byte) { t.add(kept, at) })
}

// add reuses the memory of the line that it drops.
func (t *tail) add(kept []byte, at time.Time) {
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

// told returns the lines in the form for followers.
func (t *tail) told() []messages.ConsoleLine {
	list := make([]messages.ConsoleLine, 0, len(t.lines))
	t.each(func(l line) { list = append(list, messages.ConsoleLine{Time: l.at, Text: text(l.kept)}) })
	return list
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

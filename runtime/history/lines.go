package history

import (
	"bytes"
	"slices"
)

// maxLine is how many bytes of a line are kept.
const maxLine = 512

// truncated is put behind what is kept of a line of maxLine bytes or more.
const truncated = " [truncated]"

// A splitter makes lines of what a unikernel writes, wherever the reads happen
// to cut it. Empty lines are dropped, and of a long line the end is.
type splitter struct {
	partial  []byte // of the current line, fewer than maxLine bytes
	skipping bool   // until the newline: the rest of a long line
}

func (s splitter) clone() splitter {
	return splitter{partial: slices.Clone(s.partial), skipping: s.skipping}
}

// feed gives each line that data completes to line, which must not keep it: see
// text.
func (s *splitter) feed(data []byte, line func(kept []byte)) {
	for len(data) > 0 {
		part, rest, newline := bytes.Cut(data, []byte{'\n'})
		data = rest
		s.add(part, newline, line)
	}
}

// count returns how many lines feed would give.
func (s *splitter) count(data []byte) (n int) {
	c := s.clone()
	c.feed(data, func([]byte) { n++ })
	return n
}

// add appends to the current line, and ends it where a newline follows.
func (s *splitter) add(part []byte, newline bool, line func(kept []byte)) {
	kept := part
	if len(s.partial) > 0 {
		s.partial = append(s.partial, part[:min(len(part), maxLine-len(s.partial))]...)
		kept = s.partial
	}
	switch {
	case s.skipping:
	case len(kept) >= maxLine:
		line(kept[:maxLine])
		s.partial, s.skipping = nil, true
	case newline && len(kept) > 0:
		line(kept)
	case len(s.partial) == 0:
		s.partial = bytes.Clone(kept)
	}
	if newline {
		s.partial, s.skipping = s.partial[:0], false
	}
}

// text returns what is told of a line.
func text(kept []byte) string {
	if len(kept) == maxLine {
		return string(kept) + truncated
	}
	return string(kept)
}

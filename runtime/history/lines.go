package history

import (
	"bytes"
	"slices"
)

// maxLine is how many bytes of a line are kept.
const maxLine = 512

// truncated follows what is kept of a line of maxLine bytes or more.
const truncated = " [truncated]"

// A splitter makes lines of output, however the reads cut it. It drops empty lines, and
// the end of a long line.
type splitter struct {
	partial  []byte // of the current line, fewer than maxLine bytes
	skipping bool   // the rest of a long line, until the newline
}

func (s splitter) clone() splitter {
	return splitter{partial: slices.Clone(s.partial), skipping: s.skipping}
}

// feed passes each line that data completes to line, which must not keep it: see text.
func (s *splitter) feed(data []byte, line func(kept []byte)) {
	for len(data) > 0 {
		part, rest, newline := bytes.Cut(data, []byte{'\n'})
		data = rest
		s.add(part, newline, line)
	}
}

// count returns how many lines feed would pass on.
func (s *splitter) count(data []byte) (n int) {
	c := s.clone()
	c.feed(data, func([]byte) { n++ })
	return n
}

// add appends to the current line, and ends it if a newline follows.
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

// text returns the text of a line for clients.
func text(kept []byte) string {
	if len(kept) == maxLine {
		return string(kept) + truncated
	}
	return string(kept)
}

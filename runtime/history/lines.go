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
		data = s.step(data, line)
	}
}

// step is feed for data up to its first newline, and returns the rest.
func (s *splitter) step(data []byte, line func(kept []byte)) (rest []byte) {
	part, rest, newline := bytes.Cut(data, []byte{'\n'})
	s.add(part, newline, line)
	return rest
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

// appendText appends the text of a line for clients.
func appendText(to, kept []byte) []byte {
	to = append(to, kept...)
	if len(kept) == maxLine {
		to = append(to, truncated...)
	}
	return to
}

package actors

import "bytes"

// maxLine is how many bytes of a line are kept.
const maxLine = 512

// truncated is put behind what is kept of a line of maxLine bytes or more.
const truncated = " [truncated]"

// A splitter makes lines of what a unikernel writes, wherever the reads happen
// to cut it. Empty lines are dropped, and of a long line the end is.
type splitter struct {
	partial  []byte // of the current line, fewer than maxLine bytes
	skipping bool   // until the newline: the rest of a truncated line
}

// feed gives each line that data completes to line.
func (s *splitter) feed(data []byte, line func(string)) {
	for len(data) > 0 {
		part, rest, newline := bytes.Cut(data, []byte{'\n'})
		data = rest
		s.add(part, line)
		if newline {
			s.end(line)
		}
	}
}

// add appends to the current line.
func (s *splitter) add(part []byte, line func(string)) {
	if s.skipping {
		return
	}
	s.partial = append(s.partial, part[:min(len(part), maxLine-len(s.partial))]...)
	if len(s.partial) == maxLine {
		line(string(s.partial) + truncated)
		s.partial = s.partial[:0]
		s.skipping = true
	}
}

// end ends the current line: at a newline, or when nothing more will come.
func (s *splitter) end(line func(string)) {
	if len(s.partial) > 0 {
		line(string(s.partial))
	}
	s.partial = s.partial[:0]
	s.skipping = false
}

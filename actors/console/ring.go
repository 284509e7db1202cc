package console

import (
	"time"

	"albatross/messages"
	"albatross/runtime/history"
)

// A ring holds the last lines. Lines have numbers, so a reader that remembers its next
// number knows what it has missed.
type ring struct {
	size  int
	lines []messages.ConsoleLine // at most size; line n is at n-first modulo size
	first int                    // the number of the first ever added
	total int                    // the number of the next
}

func newRing(size, first int) *ring { return &ring{size: size, first: first, total: first} }

func (r *ring) add(line messages.ConsoleLine) {
	if len(r.lines) < r.size { // a console of few lines uses little memory
		r.lines = append(r.lines, line)
	} else {
		r.lines[(r.total-r.first)%r.size] = line
	}
	r.total++
}

// take adds what was taken out of a pipe.
func (r *ring) take(t history.Taken) {
	if t.Skipped > 0 {
		r.skip(t.Skipped)
	}
	for _, line := range t.Lines {
		r.add(line)
	}
}

// skip drops all lines, and increases the number of the next one by n.
func (r *ring) skip(n int) {
	r.lines = r.lines[:0]
	r.total += n
	r.first = r.total
}

// oldest returns the number of the first line that is still there.
func (r *ring) oldest() int { return r.total - len(r.lines) }

// last returns the number of the first of the last n lines. A negative n asks for all, as
// natively.
func (r *ring) last(n int) int {
	if n < 0 {
		return r.oldest()
	}
	return r.total - min(n, len(r.lines))
}

// since returns the number of the first line that is not older than t. If the clock was
// set back afterwards, later lines may be older: better too many than too few.
func (r *ring) since(t time.Time) int {
	n := r.oldest()
	for n < r.total && r.at(n).Time.Before(t) {
		n++
	}
	return n
}

func (r *ring) at(n int) messages.ConsoleLine { return r.lines[(n-r.first)%r.size] }

// from returns at most limit lines from number n on, and how many lines between n and the
// first of them are lost.
func (r *ring) from(n, limit int) (lines []messages.ConsoleLine, missed int) {
	first := max(n, r.oldest())
	for i := first; i < min(r.total, first+limit); i++ {
		lines = append(lines, r.at(i))
	}
	return lines, first - n
}

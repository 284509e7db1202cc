package main

import (
	"slices"
	"time"

	"albatross/messages"
)

// latest returns when something last happened to a unikernel that has ended; zero: that is not
// known.
func latest(n messages.NamedEnd) (at time.Time) {
	switch {
	case n.End.AtMillis != 0:
		at = time.UnixMilli(n.End.AtMillis)
	case n.End.FoundMillis != 0:
		at = time.UnixMilli(n.End.FoundMillis)
	}
	if n.Wait.OK && n.Wait.Value.Since.After(at) {
		at = n.Wait.Value.Since
	}
	return at
}

// inOrder returns the ends since a time, if one is given, the last one at the end.
func inOrder(ends []messages.NamedEnd, since messages.Option[time.Time]) []messages.NamedEnd {
	ends = slices.Clone(ends)
	slices.SortStableFunc(ends, func(a, b messages.NamedEnd) int { return latest(a).Compare(latest(b)) })
	if !since.OK {
		return ends
	}
	return slices.DeleteFunc(ends, func(n messages.NamedEnd) bool { return latest(n).Before(since.Value) })
}

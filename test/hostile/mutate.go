package hostile

import (
	"bytes"
	"math/rand/v2"
	"slices"
)

// limits are bytes at the limits of numbers, lengths and tags.
var limits = []byte{0, 1, 0x30, 0x7f, 0x80, 0x81, 0x84, 0x88, 0xa0, 0xfe, 0xff}

// Mutate returns one of list with a few changes. It does not change list.
func Mutate(random *rand.Rand, list [][]byte) []byte {
	b := bytes.Clone(list[random.IntN(len(list))])
	for range 1 + random.IntN(3) {
		if len(b) == 0 {
			return b
		}
		b = change(random, b, list[random.IntN(len(list))])
	}
	return b
}

// change makes one change of b, which must not be empty, and may put a part of other into it.
func change(random *rand.Rand, b, other []byte) []byte {
	at := random.IntN(len(b))
	switch random.IntN(7) {
	case 0: // a bit
		b[at] ^= 1 << random.IntN(8)
	case 1: // a byte at a limit
		b[at] = limits[random.IntN(len(limits))]
	case 2: // a length, if it is one
		b[lengthIn(random, b)] += []byte{1, 0xff, 0x10}[random.IntN(3)]
	case 3: // the end is cut off
		b = b[:at]
	case 4: // a part is removed
		b = slices.Delete(b, at, at+random.IntN(len(b)-at))
	case 5: // a part is doubled
		b = slices.Insert(b, at, bytes.Clone(b[at:min(len(b), at+1+random.IntN(100))])...)
	default: // the end of another one
		b = append(b[:at], other[min(len(other), at):]...)
	}
	return b
}

// lengthIn returns the index of a byte that may be the length of what follows, if one of a few
// random ones is.
func lengthIn(random *rand.Rand, b []byte) (at int) {
	for range 10 {
		if at = random.IntN(len(b)); b[at] > 0 && int(b[at]) <= len(b)-at-1 {
			break
		}
	}
	return at
}

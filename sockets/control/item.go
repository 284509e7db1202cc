package control

import (
	"errors"
	"fmt"
	"io"
)

var errIndefinite = errors.New("cannot read an item of CBOR: its length is indefinite, or its head is not valid")

// readItem reads the bytes of one item, at most max, and nothing after it. It only finds
// the end; the caller decodes. It keeps nothing between calls, so that the reader can be
// passed on at any time.
//
// It returns io.EOF if there is no item, and io.ErrUnexpectedEOF if it is cut off.
func readItem(r io.Reader, max int) ([]byte, error) {
	i := item{r: r, max: max}
	for left := 1; left > 0; left-- {
		n, err := i.head()
		if err != nil {
			return nil, err
		}
		left += n // at most 2*max for each byte read, so it does not overflow
	}
	return i.read, nil
}

// An item is one being read.
type item struct {
	r    io.Reader
	max  int
	read []byte
}

// Major types of CBOR.
const (
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
)

// head reads the head of an item, and the string if it is one. It returns how many items
// are nested in it.
func (i *item) head() (inside int, err error) {
	first, err := i.take(1)
	if err != nil {
		return 0, err
	}
	n, err := i.argument(first[0] & 0x1f)
	if err != nil {
		return 0, err
	}
	switch first[0] >> 5 {
	case majorBytes, majorText:
		_, err = i.take(n)
	case majorArray:
		return i.fits(n)
	case majorMap:
		inside, err = i.fits(n)
		return 2 * inside, err
	case majorTag:
		return 1, nil
	}
	return 0, err
}

// argument returns the number in the head, in its first byte or in those after it.
func (i *item) argument(info byte) (n uint64, err error) {
	if info < 24 {
		return uint64(info), nil
	}
	if info > 27 {
		return 0, errIndefinite
	}
	b, err := i.take(1 << (info - 24))
	for _, digit := range b {
		n = n<<8 | uint64(digit)
	}
	return n, err
}

// take reads the next n bytes.
func (i *item) take(n uint64) ([]byte, error) {
	if _, err := i.fits(n); err != nil {
		return nil, err
	}
	start := len(i.read)
	i.read = append(i.read, make([]byte, n)...)
	_, err := io.ReadFull(i.r, i.read[start:])
	if err == io.EOF && start > 0 {
		err = io.ErrUnexpectedEOF
	}
	return i.read[start:], err
}

// fits checks that n more bytes are not too many. Every nested item has at least one.
func (i *item) fits(n uint64) (int, error) {
	if n > uint64(i.max-len(i.read)) {
		return 0, fmt.Errorf("cannot read an item of CBOR: it has more than %d bytes", i.max)
	}
	return int(n), nil
}

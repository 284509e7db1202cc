package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// An encoder writes one message. DER puts the length of an element before its contents,
// so a message is described twice: first to measure all lengths, then to write. So no
// byte of an image is moved, which cryptobyte.Builder copies once for each element around
// it.
type encoder struct {
	out       []byte
	err       error
	version   messages.Version
	measuring bool
	size      int // bytes measured so far

	// cutting leaves large contents out of out: pieces puts them in place.
	cutting bool
	cut     int // bytes of size that are not in out
	cuts    []cut
	absent  int // the length of large contents that are not in memory

	// The lengths of the constructed elements, in the order of their beginnings: most
	// messages have few, which need no allocation.
	few  [24]int
	many []int
	next int // the first that has not been measured, or written
}

var errUnencodable = errors.New("it does not fit in 63 bits")

// newEncoder returns an encoder in its measuring pass.
func newEncoder(version messages.Version) encoder {
	return encoder{version: version, measuring: true}
}

// startWriting ends the measuring pass: the next description is appended to dst.
func (e *encoder) startWriting(dst []byte) error {
	if e.err != nil {
		return fmt.Errorf("cannot encode message: %w", e.err)
	}
	e.measuring, e.next = false, 0
	e.out = withRoom(dst, e.size-e.cut)
	return nil
}

// A cut is the place of contents that are not in out.
type cut struct {
	at   int // in out
	data []byte
}

// cutSize is the least size of contents that become a piece of their own.
const cutSize = 16 << 10

// pieces returns all that was written, in order.
func (e *encoder) pieces() [][]byte {
	pieces := make([][]byte, 0, 2*len(e.cuts)+1)
	from := 0
	for _, c := range e.cuts {
		pieces = append(pieces, e.out[from:c.at], c.data)
		from = c.at
	}
	return append(pieces, e.out[from:])
}

// withRoom returns b with room for n bytes: exactly as much if it is empty, since an
// image should not use more memory than necessary.
func withRoom(b []byte, n int) []byte {
	if cap(b) == 0 {
		return make([]byte, 0, n)
	}
	return slices.Grow(b, n)
}

// fail keeps the first error. Only the measuring pass can fail.
func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// within writes a constructed element around what body writes.
func (e *encoder) within(tag asn1.Tag, body func()) {
	i := e.next
	e.next++
	if !e.measuring {
		e.header(tag, *e.length(i))
		body()
		return
	}
	if i >= len(e.few) {
		e.many = append(e.many, 0)
	}
	before := e.size
	body()
	length := e.size - before
	*e.length(i) = length
	e.size += headerSize(length)
}

// length returns the length of a constructed element.
func (e *encoder) length(i int) *int {
	if i < len(e.few) {
		return &e.few[i]
	}
	return &e.many[i-len(e.few)]
}

func (e *encoder) seq(body func()) { e.within(asn1.SEQUENCE, body) }

// explicit writes an explicit context tag around what body writes.
func (e *encoder) explicit(tag int, body func()) { e.within(contextTag(tag), body) }

// setOf writes a SET OF n elements, sorted by their encodings as DER requires.
func (e *encoder) setOf(n int, element func(i int)) {
	e.within(asn1.SET, func() {
		start := len(e.out)
		for i := range n {
			element(i)
		}
		if !e.measuring {
			sortElements(e.out[start:])
		}
	})
}

// seqOf writes a SEQUENCE OF n elements.
func (e *encoder) seqOf(n int, element func(i int)) {
	e.seq(func() {
		for i := range n {
			element(i)
		}
	})
}

// sortElements sorts the elements that b consists of.
func sortElements(b []byte) {
	if elementsSorted(b) {
		return
	}
	var elements [][]byte
	for rest := b; len(rest) > 0; rest = rest[len(first(rest)):] {
		elements = append(elements, first(rest))
	}
	slices.SortStableFunc(elements, bytes.Compare)
	copy(b, bytes.Join(elements, nil))
}

// elementsSorted reports whether the elements are sorted, as they mostly are.
func elementsSorted(b []byte) bool {
	var last []byte
	for len(b) > 0 {
		element := first(b)
		if bytes.Compare(last, element) > 0 {
			return false
		}
		last, b = element, b[len(element):]
	}
	return true
}

// first returns the first of the elements in b, which was written here and so is
// well-formed.
func first(b []byte) []byte {
	length, n, _ := parseLength(b[1:])
	return b[:1+n+int(length)]
}

// header writes a tag and a length.
func (e *encoder) header(tag asn1.Tag, length int) {
	e.out = append(e.out, byte(tag))
	if length < 0x80 {
		e.out = append(e.out, byte(length))
		return
	}
	n := headerSize(length) - 2
	e.out = append(e.out, 0x80|byte(n))
	for shift := 8 * (n - 1); shift >= 0; shift -= 8 {
		e.out = append(e.out, byte(length>>shift))
	}
}

// headerSize returns the size of a tag and a length.
func headerSize(length int) int {
	size := 2
	if length >= 0x80 {
		for ; length > 0; length >>= 8 {
			size++
		}
	}
	return size
}

// octets writes a primitive element.
func (e *encoder) octets(tag asn1.Tag, b []byte) {
	if e.measuring {
		e.size += headerSize(len(b)) + len(b)
		return
	}
	e.header(tag, len(b))
	e.out = append(e.out, b...)
}

func (e *encoder) null() { e.octets(asn1.NULL, nil) }

func (e *encoder) bytes(b []byte) { e.octets(asn1.OCTET_STRING, b) }

// large writes an image, or contents of a block device. Neither is ever in a set, so no
// element with a cut is sorted.
func (e *encoder) large(b []byte) {
	length := len(b)
	if e.absent > 0 {
		length = e.absent
	}
	switch {
	case e.absent == 0 && (!e.cutting || length < cutSize):
		e.octets(asn1.OCTET_STRING, b)
	case e.measuring:
		e.size += headerSize(length) + length
		e.cut += length
	default:
		e.header(asn1.OCTET_STRING, length)
		e.cuts = append(e.cuts, cut{len(e.out), b})
	}
}

func (e *encoder) str(s string) { e.text(asn1.UTF8String, s) }

// text is octets for a string: a conversion would copy.
func (e *encoder) text(tag asn1.Tag, s string) {
	if e.measuring {
		e.size += headerSize(len(s)) + len(s)
		return
	}
	e.header(tag, len(s))
	e.out = append(e.out, s...)
}

func (e *encoder) bool(v bool) {
	b := [1]byte{}
	if v {
		b[0] = 0xff
	}
	e.octets(asn1.BOOLEAN, b[:])
}

func (e *encoder) int(v int) {
	if v < messages.MinInt || v > messages.MaxInt {
		e.fail(fmt.Errorf("number %d: %w", v, errUnencodable))
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(v))
	skip := 0 // bytes that only repeat the sign of the next
	for skip < 7 && int8(b[skip]) == int8(b[skip+1])>>7 {
		skip++
	}
	e.octets(asn1.INTEGER, b[skip:])
}

func (e *encoder) i32(v uint32) { e.int(int(int32(v))) }

func (e *encoder) i64(v int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(v))
	e.bytes(b[:])
}

func (e *encoder) optInt(o messages.Option[int]) {
	if o.OK {
		e.int(o.Value)
	}
}

func (e *encoder) optStr(o messages.Option[string]) {
	if o.OK {
		e.str(o.Value)
	}
}

func (e *encoder) strs(l []string) { e.seqOf(len(l), func(i int) { e.str(l[i]) }) }

// name writes a name in the form of the message's version. In versions 3 and 4 the root
// becomes an empty sequence, which nobody can decode, and the name of a path that of its
// last label: in the old form both look the same.
func (e *encoder) name(n messages.Name) {
	if e.version == messages.Version5 {
		e.nameText(n)
		return
	}
	e.seq(func() {
		for _, l := range n.Path.Labels() {
			e.str(string(l))
		}
		if n.Label != "" {
			e.str(string(n.Label))
		}
	})
}

// nameText writes the text form of a name.
func (e *encoder) nameText(n messages.Name) {
	size := len(n.Path) + 1 + len(n.Label)
	if e.measuring {
		e.size += headerSize(size) + size
		return
	}
	e.header(asn1.UTF8String, size)
	e.out = append(e.out, n.Path...)
	e.out = append(e.out, ':')
	e.out = append(e.out, n.Label...)
}

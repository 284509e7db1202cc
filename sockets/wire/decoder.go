package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// A decoder reads the elements of one DER encoded message from front to back.
//
// cryptobyte.String could read most of it, but not what native programs accept beyond
// DER: BOOLEANs that are neither 00 nor ff, and a length of 127 encoded as 81 7f. Both
// refuse all else that DER forbids.
//
// The first error sticks: from then on every method returns a zero value, and loops end
// because nothing is left. So a description of a message is a plain list of its fields.
type decoder struct {
	frame []byte
	pos   int // next byte to read
	end   int // end of the innermost open element
	err   error

	limits  *commandLimits // while a command is being read
	text    string         // a copy of the frame, which all strings share; see str
	version messages.Version
	said    dialect
}

// sharedText is the longest frame whose strings share one copy of the frame. So a console
// line costs one allocation, and the bound limits what a stored name keeps alive.
const sharedText = 512

// memoryFactor bounds the memory of a list: before its elements have been read, at most
// so many bytes are allocated for each byte of the frame. The largest element for its
// encoding is a block device, 64 bytes for 4.
const memoryFactor = 16

// The limits of a command besides an image and contents. No client needs as much: a guest
// has room for 8 KB of arguments.
const (
	maxTexts = 1 << 20  // bytes of all texts
	maxList  = 64 << 10 // bytes of a list in memory
)

// commandLimits are what is left for a command.
type commandLimits struct{ texts int }

// The causes of a malformed element.
var (
	errShort    = errors.New("it ends too early")
	errTrailing = errors.New("bytes are left over")
	errLength   = errors.New("its length is not in the shortest form")
	errWrongTag = errors.New("it has the wrong tag")
	errInteger  = errors.New("it is not in the shortest form")
	errWide     = errors.New("it does not fit in 63 bits")
	errBoolean  = errors.New("it is not one byte")
	errNull     = errors.New("it is not empty")
	errI64      = errors.New("it is shorter than 8 bytes")
	errMAC      = errors.New("it is not 6 bytes")
	errTexts    = fmt.Errorf("the texts of the command are longer than %d bytes", maxTexts)
	errList     = errors.New("it has too many elements for a command")
	errDialects = errors.New("no version of the protocol says all of it together")
)

func newDecoder(frame []byte) decoder {
	return decoder{frame: frame, end: len(frame), version: messages.CurrentVersion, said: anyDialect}
}

// dialect is a set of dialects of native albatross: at least one of them must understand
// a message as a whole.
type dialect uint8

const (
	until25 dialect = 1 << iota // 2.5 and before
	since26                     // 2.6 and later

	anyDialect = until25 | since26
)

// only notes that just these dialects have what has just been read.
func (d *decoder) only(in dialect) {
	d.said &= in
	if d.said == 0 {
		d.fail("message", errDialects)
	}
}

// fail keeps the first error, and leaves nothing to read.
func (d *decoder) fail(what string, cause error) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, cause)
	}
	d.pos = d.end
}

// finish returns the error of reading the frame as one element.
func (d *decoder) finish(what string) error {
	if d.err == nil && d.pos != len(d.frame) {
		d.err = errTrailing
	}
	if d.err != nil {
		return fmt.Errorf("cannot decode %s: %w", what, d.err)
	}
	return nil
}

// more reports whether the innermost element has something left.
func (d *decoder) more() bool { return d.err == nil && d.pos < d.end }

// at reports whether the next element has this tag, for optional elements.
func (d *decoder) at(tag asn1.Tag) bool {
	return d.more() && d.frame[d.pos] == byte(tag)
}

// header reads a tag and a length; the contents are frame[start:end].
func (d *decoder) header(what string) (tag asn1.Tag, start, end int) {
	rest := d.frame[d.pos:d.end]
	if len(rest) < 2 {
		d.fail(what, errShort)
		return 0, 0, 0
	}
	length, n, err := parseLength(rest[1:])
	if err != nil {
		d.fail(what, err)
		return 0, 0, 0
	}
	start = d.pos + 1 + n
	if length > uint64(d.end-start) {
		d.fail(what, errShort)
		return 0, 0, 0
	}
	return asn1.Tag(rest[0]), start, start + int(length)
}

// parseLength reads a length and the number of bytes that it takes.
func parseLength(b []byte) (length uint64, n int, err error) {
	if b[0] < 0x80 {
		return uint64(b[0]), 1, nil
	}
	n = int(b[0] & 0x7f)
	if n == 0 || n > 8 {
		return 0, 0, errLength // indefinite, or far too long
	}
	if len(b) <= n {
		return 0, 0, errShort
	}
	for _, c := range b[1 : 1+n] {
		length = length<<8 | uint64(c)
	}
	// Native accepts 81 7f, and so do we.
	if b[1] == 0 || length < 0x7f {
		return 0, 0, errLength
	}
	return length, 1 + n, nil
}

// element reads an element with this tag and returns its contents.
func (d *decoder) element(what string, want asn1.Tag) []byte {
	tag, start, end := d.header(what)
	if d.err != nil {
		return nil
	}
	if tag != want {
		d.fail(what, errWrongTag)
		return nil
	}
	d.pos = end
	return d.frame[start:end:end]
}

// within reads a constructed element: body must read all of its contents.
func (d *decoder) within(what string, want asn1.Tag, body func()) {
	tag, start, end := d.header(what)
	if d.err != nil {
		return
	}
	if tag != want {
		d.fail(what, errWrongTag)
		return
	}
	d.open(what, start, end, body)
}

// open runs body on the contents of a constructed element.
func (d *decoder) open(what string, start, end int, body func()) {
	outer := d.end
	d.pos, d.end = start, end
	body()
	if d.err != nil {
		d.err = fmt.Errorf("%s: %w", what, d.err)
	} else if d.pos != end {
		d.fail(what, errTrailing)
	}
	d.pos, d.end = end, outer
	if d.err != nil {
		d.pos = outer
	}
}

// seq reads a SEQUENCE.
func (d *decoder) seq(what string, body func()) { d.within(what, asn1.SEQUENCE, body) }

// explicit reads an element with an explicit context tag.
func (d *decoder) explicit(what string, tag int, body func()) {
	d.within(what, contextTag(tag), body)
}

// choice reads one of the alternatives of a CHOICE, each explicitly tagged.
func (d *decoder) choice(what string, alternative func(tag int)) {
	tag, start, end := d.header(what)
	if d.err != nil {
		return
	}
	number := int(tag &^ contextTag(0))
	if tag != contextTag(number) || number > maxContextTag {
		d.fail(what, errWrongTag)
		return
	}
	d.open(what, start, end, func() { alternative(number) })
}

// unknown refuses a tag that is not among the alternatives of a CHOICE.
func (d *decoder) unknown(tag int) {
	d.fail("alternative", fmt.Errorf("nothing has tag %d", tag))
}

// dropped refuses an alternative that the protocol had once.
func (d *decoder) dropped(what string) {
	d.fail(what, errors.New("support was dropped"))
}

const maxContextTag = 0x1e // 0x1f starts a tag of several bytes: there is none

func contextTag(number int) asn1.Tag {
	return asn1.Tag(number).ContextSpecific().Constructed()
}

// list reads the elements of a SEQUENCE OF or SET OF in order. An empty list is nil.
func list[T any](d *decoder, what string, tag asn1.Tag, element func() T) (l []T) {
	d.within(what, tag, func() {
		if d.more() {
			l = make([]T, 0, listCapacity[T](d))
		}
		for d.more() {
			l = append(l, element())
		}
	})
	if d.err != nil {
		return nil
	}
	return l
}

// listCapacity returns the number of elements that are left, but not more than fit in
// memoryFactor times their encoding.
func listCapacity[T any](d *decoder) int {
	var t T
	n, pos := 0, d.pos
	for d.more() {
		_, _, d.pos = d.header("element")
		n++
	}
	limit := memoryFactor * (d.end - pos) / int(unsafe.Sizeof(t))
	if d.err == nil {
		d.pos = pos
	}
	if d.limits != nil && n*int(unsafe.Sizeof(t)) > maxList {
		d.fail("list", errList)
		return 0
	}
	return min(n, limit)
}

func (d *decoder) null() {
	if len(d.element("null", asn1.NULL)) != 0 {
		d.fail("null", errNull)
	}
}

func (d *decoder) bool(what string) bool {
	b := d.element(what, asn1.BOOLEAN)
	if d.err == nil && len(b) != 1 {
		d.fail(what, errBoolean)
	}
	return d.err == nil && b[0] != 0
}

// int reads an INTEGER of 63 bits, the width of a native integer.
func (d *decoder) int(what string) int {
	b := d.element(what, asn1.INTEGER)
	if d.err != nil {
		return 0
	}
	n, err := parseInt(b)
	if err != nil {
		d.fail(what, err)
		return 0
	}
	return n
}

func parseInt(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, errShort
	}
	if len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		return 0, errInteger
	}
	if len(b) > 8 {
		return 0, errWide
	}
	n := int64(int8(b[0]))
	for _, c := range b[1:] {
		n = n<<8 | int64(c)
	}
	if n < messages.MinInt || n > messages.MaxInt {
		return 0, errWide
	}
	return int(n), nil
}

// i32 reads an INTEGER modulo 2^32.
func (d *decoder) i32(what string) uint32 { return uint32(d.int(what)) }

// i64 reads an OCTET STRING as a number. Native ignores what follows the first 8 bytes,
// and crashes if there are fewer.
func (d *decoder) i64(what string) int64 {
	b := d.element(what, asn1.OCTET_STRING)
	if d.err != nil {
		return 0
	}
	if len(b) < 8 {
		d.fail(what, errI64)
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// octets reads an OCTET STRING, as a slice of the frame.
func (d *decoder) octets(what string) []byte { return d.element(what, asn1.OCTET_STRING) }

// str reads an UTF8String, whose encoding nobody checks.
func (d *decoder) str(what string) string {
	b := d.element(what, asn1.UTF8String)
	if len(b) == 0 {
		return ""
	}
	if d.limits != nil {
		if d.limits.texts -= len(b); d.limits.texts < 0 {
			d.fail(what, errTexts)
			return ""
		}
	}
	if len(d.frame) > sharedText {
		return string(b)
	}
	if d.text == "" {
		d.text = string(d.frame)
	}
	return d.text[d.pos-len(b) : d.pos]
}

// strs reads a SEQUENCE OF UTF8String.
func (d *decoder) strs(what string) []string {
	return list(d, what, asn1.SEQUENCE, func() string { return d.str("element") })
}

// ints reads a SEQUENCE OF or SET OF INTEGER that stands for a set.
func (d *decoder) ints(what string, tag asn1.Tag) []int {
	return sorted(list(d, what, tag, func() int { return d.int("element") }))
}

func (d *decoder) optInt(what string) (o messages.Option[int]) {
	if d.at(asn1.INTEGER) {
		o = messages.Some(d.int(what))
	}
	return o
}

func (d *decoder) optStr(what string) (o messages.Option[string]) {
	if d.at(asn1.UTF8String) {
		o = messages.Some(d.str(what))
	}
	return o
}

// mac reads the six bytes of a MAC address.
func (d *decoder) mac(what string) (m messages.MAC) {
	b := d.element(what, asn1.OCTET_STRING)
	if d.err == nil && len(b) != len(m) {
		d.fail(what, errMAC)
	}
	copy(m[:], b)
	return m
}

// name reads a name in the form of the message's version. Until 2.6.1 labels could have
// upper-case letters; we fold them to lower case, as every later version does.
func (d *decoder) name(what string) messages.Name {
	text := ""
	if d.version == messages.Version5 {
		text = d.str(what)
	} else {
		// The elements are joined with '.', not ':': native does it, so that
		// several labels become a single one.
		text = strings.Join(d.strs(what), ".")
	}
	if d.err != nil {
		return messages.Name{}
	}
	n, err := messages.ParseName(text)
	if err != nil {
		d.fail(what, err)
	}
	return n
}

package wire

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// AppendLines appends lines of a console to dst, each as a frame with a DataConsole. All have the
// same header, and many the same time: those are encoded once, since there may be millions of
// lines.
func AppendLines(dst []byte, h messages.Header, p messages.DataLines) ([]byte, error) {
	head, err := element(h.Version, func(e *encoder) { e.head(h) })
	if err != nil {
		return dst, err
	}
	e := encoder{out: slices.Grow(dst, linesRoom(head, p.Lines))}
	var last time.Time
	var at []byte
	for _, l := range p.Lines {
		if at == nil || !l.Time.Equal(last) {
			last = l.Time
			if at, err = element(h.Version, func(e *encoder) { e.lineTime(p.Old, last) }); err != nil {
				return dst, err
			}
		}
		e.lineFrame(head, at, p.Old, l.Text)
	}
	return e.out, nil
}

// element returns what one description encodes.
func element(v messages.Version, describe func(*encoder)) ([]byte, error) {
	e := newEncoder(v)
	describe(&e)
	if err := e.startWriting(nil); err != nil {
		return nil, err
	}
	describe(&e)
	return e.out, nil
}

// linesRoom returns how many bytes lines need, or a few more.
func linesRoom(head []byte, lines []messages.ConsoleLine) (room int) {
	for _, l := range lines {
		room += len(l.Text)
	}
	return room + len(lines)*(len(head)+48)
}

// lineFrame writes what frame and wire write for a DataConsole: each element knows its length from
// those within.
func (e *encoder) lineFrame(head, at []byte, old bool, text string) {
	line := len(at) + whole(len(text))
	data := whole(line)
	payload := whole(data)
	message := len(head) + whole(payload)
	e.out = binary.BigEndian.AppendUint32(e.out, uint32(whole(message)))
	e.header(asn1.SEQUENCE, message)
	e.out = append(e.out, head...)
	e.header(contextTag(3), payload)
	e.header(contextTag(lineTag(old)), data)
	e.header(asn1.SEQUENCE, line)
	e.out = append(e.out, at...)
	e.header(asn1.UTF8String, len(text))
	e.out = append(e.out, text...)
}

// whole returns the length of an element with contents of a length.
func whole(length int) int { return headerSize(length) + length }

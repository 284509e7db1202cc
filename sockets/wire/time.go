package wire

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// The epoch is told as the start of a unikernel where nothing is known of it.
var epoch = time.Unix(0, 0).UTC()

var errTime = errors.New("it is not a valid time")

// genTime reads a GeneralizedTime to the millisecond.
func (d *decoder) genTime(what string) time.Time {
	return d.time(what, asn1.GeneralizedTime, parseGenTime)
}

// utcTime reads a UTCTime.
func (d *decoder) utcTime(what string) time.Time {
	return d.time(what, asn1.UTCTime, parseUTCTime)
}

func (d *decoder) time(what string, tag asn1.Tag, parse func(*clock) bool) time.Time {
	b := d.element(what, tag)
	if d.err != nil {
		return time.Time{}
	}
	c := clock{rest: b, month: 1, day: 1}
	if !parse(&c) || len(c.rest) != 0 {
		d.fail(what, errTime)
		return time.Time{}
	}
	t, ok := c.time()
	if !ok {
		d.fail(what, errTime)
	}
	return t
}

// A clock holds the digits of a time while they are read. Its methods take what
// native programs take, which read times with OCaml's Scanf: numbers may be
// shorter than they should be and contain '_', and what was read before an
// optional part turns out wrong stays read.
type clock struct {
	rest                                   []byte
	year, month, day, hour, minute, second int
	ms, offset                             int // milliseconds; seconds east of UTC
}

// parseGenTime reads YYYYMMDDHH[MM[SS[.mmm]]], and an optional zone.
func parseGenTime(c *clock) bool {
	if !(c.number(4, &c.year) && c.number(2, &c.month) && c.number(2, &c.day) && c.number(2, &c.hour)) {
		return false
	}
	if c.number(2, &c.minute) && c.number(2, &c.second) && c.literal('.') {
		c.number(3, &c.ms)
	}
	c.zone()
	return true
}

// parseUTCTime reads YYMMDDHHMM[SS] and a zone.
func parseUTCTime(c *clock) bool {
	if !(c.number(2, &c.year) && c.number(2, &c.month) && c.number(2, &c.day) &&
		c.number(2, &c.hour) && c.number(2, &c.minute)) {
		return false
	}
	c.number(2, &c.second)
	if c.year >= 50 {
		c.year += 1900
	} else {
		c.year += 2000
	}
	return c.zone()
}

// number reads up to width digits, at least one; a '_' counts as a digit that
// says nothing, but cannot come first.
func (c *clock) number(width int, to *int) bool {
	n, i := 0, 0
	for ; i < min(width, len(c.rest)); i++ {
		b := c.rest[i]
		if '0' <= b && b <= '9' {
			n = 10*n + int(b-'0')
		} else if b != '_' || i == 0 {
			break
		}
	}
	if i == 0 {
		return false
	}
	c.rest, *to = c.rest[i:], n
	return true
}

func (c *clock) literal(b byte) bool {
	if len(c.rest) == 0 || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// zone reads [+-]HHMM up to the end, or what may be left of it and a 'Z'. The
// sign is optional: that is how digits behind the milliseconds are accepted.
func (c *clock) zone() bool {
	sign := 1
	if c.literal('-') {
		sign = -1
	} else {
		c.literal('+')
	}
	hours, minutes := 0, 0
	if c.number(2, &hours) && c.number(2, &minutes) && len(c.rest) == 0 {
		c.offset = sign * (3600*hours + 60*minutes)
		return true
	}
	return c.literal('Z')
}

// time is the time that was read, in UTC, where there is one in the years 0 to
// 9999. A second 60 is the first of the next minute.
func (c *clock) time() (time.Time, bool) {
	if c.hour > 23 || c.minute > 59 || c.second > 60 {
		return time.Time{}, false
	}
	day := time.Date(c.year, time.Month(c.month), c.day, 0, 0, 0, 0, time.UTC)
	if day.Day() != c.day || day.Month() != time.Month(c.month) {
		return time.Time{}, false
	}
	t := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second-c.offset, c.ms*1e6, time.UTC)
	return t, inRange(t)
}

func inRange(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

// genTime writes milliseconds only where there is a fraction of a second.
func (e *encoder) genTime(t time.Time) {
	t = t.UTC()
	if !inRange(t) {
		e.fail(fmt.Errorf("time %v: the year has more than four digits", t))
	}
	layout := "20060102150405Z"
	if t.Nanosecond() != 0 {
		layout = "20060102150405.000Z"
	}
	var room [20]byte
	e.octets(asn1.GeneralizedTime, t.AppendFormat(room[:0], layout))
}

// utcTime writes two digits of the year, as native does even where that tells
// another century: only clients of the last one ask for it.
func (e *encoder) utcTime(t time.Time) {
	var room [13]byte
	e.octets(asn1.UTCTime, t.UTC().AppendFormat(room[:0], "060102150405Z"))
}

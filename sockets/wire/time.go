package wire

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// The epoch is the start of a unikernel whose start is unknown.
var epoch = time.Unix(0, 0).UTC()

var errTime = errors.New("it is not a valid time")

// genTime reads a GeneralizedTime to the millisecond.
func (d *decoder) genTime(what string) time.Time {
	c := clock{rest: d.element(what, asn1.GeneralizedTime)}
	return d.time(what, &c, d.err == nil && c.genTime())
}

// utcTime reads a UTCTime.
func (d *decoder) utcTime(what string) time.Time {
	c := clock{rest: d.element(what, asn1.UTCTime)}
	return d.time(what, &c, d.err == nil && c.utcTime())
}

// time returns the time of a clock, if that has read one.
func (d *decoder) time(what string, c *clock, ok bool) (t time.Time) {
	if ok && len(c.rest) == 0 {
		t, ok = c.time()
	} else {
		ok = false
	}
	if !ok {
		d.fail(what, errTime)
	}
	return t
}

// A clock holds the digits of a time while they are read. Its methods accept what native
// programs accept, which use OCaml's Scanf: numbers may be short and contain '_', and
// what was read before an optional part stays read if that part is wrong.
type clock struct {
	rest                                   []byte
	year, month, day, hour, minute, second int
	ms, offset                             int // milliseconds; seconds east of UTC
}

// genTime reads YYYYMMDDHH[MM[SS[.mmm]]], and an optional zone.
func (c *clock) genTime() bool {
	if !(c.number(4, &c.year) && c.number(2, &c.month) && c.number(2, &c.day) && c.number(2, &c.hour)) {
		return false
	}
	if c.number(2, &c.minute) && c.number(2, &c.second) && c.literal('.') {
		c.number(3, &c.ms)
	}
	c.zone()
	return true
}

// utcTime reads YYMMDDHHMM[SS] and a zone.
func (c *clock) utcTime() bool {
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

// number reads up to width digits, at least one; a '_' counts as a digit without a value,
// but cannot come first.
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

// zone reads [+-]HHMM up to the end, or what may be left of it and a 'Z'. The sign is
// optional, so that digits after the milliseconds are accepted.
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

// time returns the time that was read, in UTC, if it exists in the years 0 to 9999. A
// second 60 is the first of the next minute.
func (c *clock) time() (time.Time, bool) {
	if c.hour > 23 || c.minute > 59 || c.second > 60 {
		return time.Time{}, false
	}
	t := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, 0, 0, time.UTC)
	if t.Day() != c.day || t.Month() != time.Month(c.month) {
		return time.Time{}, false // there is no such day
	}
	t = t.Add(time.Duration(c.second-c.offset)*time.Second + time.Duration(c.ms)*time.Millisecond)
	return t, inRange(t)
}

func inRange(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

// genTime writes milliseconds only where there is a fraction of a second.
func (e *encoder) genTime(t time.Time) {
	t = t.UTC()
	if !inRange(t) {
		e.fail(fmt.Errorf("time %v: the year has more than four digits", t))
		return
	}
	var room [19]byte
	b := appendDigits(room[:0], t.Year()/100, 2)
	b = appendSeconds(b, t)
	if t.Nanosecond() != 0 {
		b = appendDigits(append(b, '.'), t.Nanosecond()/1e6, 3)
	}
	e.octets(asn1.GeneralizedTime, append(b, 'Z'))
}

// utcTime writes two digits of the year, as native does even if that means another
// century: only old clients ask for it.
func (e *encoder) utcTime(t time.Time) {
	var room [13]byte
	e.octets(asn1.UTCTime, append(appendSeconds(room[:0], t.UTC()), 'Z'))
}

// appendSeconds appends YYMMDDHHMMSS, which is faster than a layout of time.
func appendSeconds(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	for _, n := range [...]int{year % 100, int(month), day, hour, minute, second} {
		b = appendDigits(b, n, 2)
	}
	return b
}

func appendDigits(b []byte, n, digits int) []byte {
	if digits == 3 {
		b = append(b, byte('0'+n/100))
		n %= 100
	}
	return append(b, byte('0'+n/10), byte('0'+n%10))
}

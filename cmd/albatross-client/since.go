package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sinceHelp explains the forms of a time.
const sinceHelp = "2026-01-02T15:04:05Z, 2026-01-02 (in UTC, as is all that has no zone), yesterday, or 10m or 2h ago"

// parseTime parses a time: RFC 3339 and shortened forms of it, or how long ago it was.
func parseTime(s string) (time.Time, error) { return timeFrom(time.Now().UTC(), s) }

func timeFrom(now time.Time, s string) (t time.Time, err error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	switch word := strings.ToLower(s); word {
	case "now":
		t = now
	case "today":
		t = midnight
	case "yesterday":
		t = midnight.AddDate(0, 0, -1)
	default:
		if t, err = timestamp(word); errors.Is(err, errOtherForm) {
			t, err = ago(now, word)
		}
	}
	if err == nil && (t.Year() < 0 || t.Year() > 9999) {
		err = errNoTime
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: '%s' is none such as %s", errTimeText, escape(s), sinceHelp)
	}
	return t, nil
}

var (
	errTimeText  = errors.New("couldn't parse timestamp") // native's words
	errOtherForm = errors.New("it has another form")
	errNoTime    = errors.New("there is no such time")
)

// timestampForm is RFC 3339, with optional parts: the seconds, the zone, its colon or
// minutes, all after the day.
var timestampForm = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)(?:[t ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?:z| ?([+-])(\d\d):?(\d\d)?)?)?$`)

// timestamp parses a point in time. A second 60 is the first of the next minute.
func timestamp(s string) (time.Time, error) {
	m := timestampForm.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, errOtherForm
	}
	day, clock, second, fraction, sign, hours, minutes := m[1], m[2], m[3], m[4], m[5], m[6], m[7]
	if clock == "" {
		clock = "00:00"
	}
	t, err := time.Parse("2006-01-02 15:04", day+" "+clock)
	seconds, offset := number(second), 60*(60*number(hours)+number(minutes))
	if err != nil || seconds > 60 || number(hours) > 23 || number(minutes) > 59 {
		return time.Time{}, errNoTime
	}
	if sign == "-" {
		offset = -offset
	}
	return t.Add(time.Duration(seconds-offset)*time.Second + nanoseconds(fraction)), nil
}

// number parses a few digits; none are 0.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

// nanoseconds parses the digits of a fraction of a second, as far as they count.
func nanoseconds(fraction string) time.Duration {
	const digits = 9
	return time.Duration(number((fraction + strings.Repeat("0", digits))[:digits]))
}

// agoForm is how long ago something was, with few enough digits for a time.Duration.
var agoForm = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?(?:(\d{1,9})s)?(?: ago)?$`)

// ago parses how long ago something was: 2h, 1h30m, 3d.
func ago(now time.Time, s string) (time.Time, error) {
	m := agoForm.FindStringSubmatch(s)
	if m == nil || strings.Join(m[1:], "") == "" {
		return time.Time{}, errOtherForm
	}
	minutes := 60*number(m[3]) + number(m[4])
	return now.AddDate(0, 0, -7*number(m[1])-number(m[2])).
		Add(-time.Duration(minutes) * time.Minute).Add(-time.Duration(number(m[5])) * time.Second), nil
}

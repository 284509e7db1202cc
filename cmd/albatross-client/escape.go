package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The output of a unikernel, and texts of a daemon, go to a terminal that obeys control
// characters: these could change its title, rewrite earlier output, or make it answer as
// if the user had typed. So only printable characters pass; every other byte becomes a
// backslash and three decimal digits, or \n, \r, \t, \b.

// escape makes a text safe to print.
func escape(s string) string { return escapeWith(s, false) }

// escapeLine makes a line of a console safe to print. Like native it doubles backslashes,
// so that the line differs from the escapes.
func escapeLine(s string) string { return escapeWith(s, true) }

func escapeWith(s string, backslash bool) string {
	var out strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\' && backslash:
			out.WriteString(`\\`)
		case r == utf8.RuneError && size == 1 || !unicode.IsPrint(r):
			escapeBytes(&out, s[:size])
		default:
			out.WriteString(s[:size])
		}
		s = s[size:]
	}
	return out.String()
}

func escapeBytes(out *strings.Builder, s string) {
	for i := range len(s) {
		switch s[i] {
		case '\n':
			out.WriteString(`\n`)
		case '\r':
			out.WriteString(`\r`)
		case '\t':
			out.WriteString(`\t`)
		case '\b':
			out.WriteString(`\b`)
		default:
			fmt.Fprintf(out, `\%03d`, s[i])
		}
	}
}

// asciiJSON returns v in JSON that is safe for a terminal, too: it escapes what is not
// ASCII.
func asciiJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("internal error: cannot make JSON: " + err.Error())
	}
	var out strings.Builder
	for _, r := range string(text) {
		switch {
		case ' ' <= r && r <= '~':
			out.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	return out.String()
}

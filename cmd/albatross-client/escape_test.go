package main

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"tick 1":                       "tick 1",
		"a\xff\x00\x1b[31mred":         `a\255\000\027[31mred`,
		"grüße € 🐫":                    "grüße € 🐫",
		"cr\r lf\n tab\t bs\b":         `cr\r lf\n tab\t bs\b`,
		"\u202egnp.exe":                `\226\128\174gnp.exe`, // from here on the text runs from right to left
		"\u009b31m":                    `\194\15531m`,         // a terminal takes it for ESC [
		"\xc2":                         `\194`,
		`"quoted" 'and' 100%`:          `"quoted" 'and' 100%`,
		"\x7f":                         `\127`,
		"replacement character \ufffd": "replacement character \ufffd",
	} {
		require.Equal(t, want, escape(text))
		require.Equal(t, want, escapeLine(text))
	}
	require.Equal(t, `a\b`, escape(`a\b`))
	require.Equal(t, `a\\b`, escapeLine(`a\b`), "as native does")
}

// FuzzEscape: no control character of a terminal is printed, and no two lines look the same.
func FuzzEscape(f *testing.F) {
	f.Add("a\x1b]0;title\x07", `a\027]0;title\007`)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, r := range escape(a) + escapeLine(a) {
			require.True(t, unicode.IsPrint(r), "%q", r)
		}
		require.True(t, utf8.ValidString(escapeLine(a)))
		if a != b {
			require.NotEqual(t, escapeLine(a), escapeLine(b))
		}
	})
}

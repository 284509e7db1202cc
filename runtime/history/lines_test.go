package history

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// split returns the lines that some reads make, when a newline ends the last one.
func split(reads ...string) (lines []string) {
	var s splitter
	for _, data := range append(reads, "\n") {
		s.feed([]byte(data), func(kept []byte) { lines = append(lines, string(appendText(nil, kept))) })
	}
	return lines
}

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", 512)
	for name, tc := range map[string]struct {
		reads []string
		lines []string
	}{
		"one":                      {[]string{"one\n"}, []string{"one"}},
		"cut":                      {[]string{"o", "ne\ntw", "o\n"}, []string{"one", "two"}},
		"empty lines":              {[]string{"\n\none\n", "\n"}, []string{"one"}},
		"no newline at the end":    {[]string{"one\ntwo"}, []string{"one", "two"}},
		"any bytes":                {[]string{"\xff\x00\x1b[31m\r\n"}, []string{"\xff\x00\x1b[31m\r"}},
		"511 bytes":                {[]string{long[1:] + "\n"}, []string{long[1:]}},
		"512 bytes":                {[]string{long + "\n"}, []string{long + " [truncated]"}},
		"more":                     {[]string{long + "yyy\nz\n"}, []string{long + " [truncated]", "z"}},
		"more, cut anywhere":       {[]string{long[:300], long[300:] + "y", "yy", "\nz\n"}, []string{long + " [truncated]", "z"}},
		"long without end":         {[]string{long + long + long}, []string{long + " [truncated]"}},
		"nothing":                  {nil, nil},
		"newline behind the 512th": {[]string{long, "\nnext\n"}, []string{long + " [truncated]", "next"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.lines, split(tc.reads...)) })
	}
}

func TestSplitterDoesNotCareWhereReadsAreCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := output().Draw(t, "text")
		var reads []string
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "read")
			reads = append(reads, rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, split(text), split(reads...))
	})
}

// output draws what a unikernel could print.
func output() *rapid.Generator[string] {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"\n", "a", "bb\n", "\x00\xff\r\n", strings.Repeat("c", 511), strings.Repeat("d", 512), strings.Repeat("e", 700),
	}), 1, 20)
	return rapid.Map(parts, func(parts []string) string { return strings.Join(parts, "") })
}

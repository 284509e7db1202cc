package messages

import (
	"fmt"
	"strings"
	"unicode"
)

// Public is text that a client may read. A constant is one as it is; anything else
// becomes one by Publicf or PublicError, so that the compiler refuses the text of an
// error that nobody has looked at. Who decodes what others have said may convert it.
type Public string

// Publicf formats as fmt.Sprintf does, and reduces the result: see PublicError.
func Publicf(format string, args ...any) Public { return public(fmt.Sprintf(format, args...)) }

// PublicError returns what a client may know of an error: its text, in which nothing but
// the last element is left of absolute paths, for where the host has its files is
// nobody's business. It is empty where there is no error.
func PublicError(err error) Public {
	if err == nil {
		return ""
	}
	return public(err.Error())
}

// public reduces absolute paths. A path may have spaces, and ends only where it
// certainly does; so it takes the words behind it along, up to that place, and they
// stay, as part of what its last element seems to be.
func public(text string) Public {
	var out strings.Builder
	for {
		start := pathStart(text)
		if start < 0 {
			break
		}
		out.WriteString(text[:start])
		text = text[start:]
		end := pathEnd(text)
		out.WriteString(lastElement(text[:end]))
		text = text[end:]
	}
	out.WriteString(text)
	return Public(out.String())
}

// pathStart returns where the first absolute path begins, or -1. A slash behind a letter,
// or before a space, as in "read/write" or "1 / 2", begins none.
func pathStart(text string) int {
	before := ' '
	for i, r := range text {
		if r == '/' && !inWord(before) && pathEnd(text[i:]) > 1 && text[i+1] != ' ' {
			return i
		}
		before = r
	}
	return -1
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-~", r)
}

// pathEnd returns where the path ends that the text begins with.
func pathEnd(text string) int {
	end := len(text)
	for _, mark := range []string{": ", "; ", ", ", " /", " (", ")", `"`, "'", "\n"} {
		if i := strings.Index(text, mark); i >= 0 {
			end = min(end, i)
		}
	}
	return end
}

// lastElement returns what is behind the last slash that anything is behind.
func lastElement(path string) string {
	path = strings.TrimRight(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

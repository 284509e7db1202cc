package messages

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

// Public is text that a client may read. Constants convert to it; everything else must go
// through Publicf or PublicError, so that the compiler refuses the unchecked text of an
// error. Decoders of other programs' messages may convert it.
type Public string

// Publicf formats as fmt.Sprintf does, and reduces the result: see PublicError.
func Publicf(format string, args ...any) Public { return public(fmt.Sprintf(format, args...)) }

// PublicError returns what a client may know of an error: its text, with absolute paths
// reduced to their last elements, since clients need not know where the host has its
// files. It returns "" for nil.
func PublicError(err error) Public {
	if err == nil {
		return ""
	}
	return public(err.Error())
}

// WithoutPath returns the cause of an error about a file, for texts that name the file in
// the words of a client.
func WithoutPath(err error) error {
	if path := new(fs.PathError); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// public reduces absolute paths. A path may contain spaces, and ends only where it
// certainly does; so words after it, up to that place, become part of its last element
// and stay.
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

// pathStart returns where the first absolute path begins, or -1. A slash after a letter or
// two colons, or before a space, as in "read/write", "fd00::/64" or "1 / 2", begins none.
func pathStart(text string) int {
	before := ' '
	for i, r := range text {
		if r == '/' && !inWord(before) && !strings.HasSuffix(text[:i], "::") && pathEnd(text[i:]) > 1 && text[i+1] != ' ' {
			return i
		}
		before = r
	}
	return -1
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-~", r)
}

// pathEnd returns where the path at the beginning of the text ends.
func pathEnd(text string) int {
	end := len(text)
	for _, mark := range []string{": ", "; ", ", ", " /", " (", ")", `"`, "'", "\n"} {
		if i := strings.Index(text, mark); i >= 0 {
			end = min(end, i)
		}
	}
	return end
}

// lastElement returns what follows the last slash that is not at the end.
func lastElement(path string) string {
	path = strings.TrimRight(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

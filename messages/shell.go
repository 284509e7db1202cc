package messages

import "strings"

// ShellQuoted returns a path as a word of a shell, for a command that the reader is to run.
func ShellQuoted(path string) string {
	if strings.Trim(path, "/.-_+,:@%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

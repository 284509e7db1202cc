package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDifferencesAreHeld: each row in docs/compatibility.md names what holds it, and that exists.
func TestDifferencesAreHeld(t *testing.T) {
	text, err := os.ReadFile("../../docs/compatibility.md")
	require.NoError(t, err)
	conversations, err := os.ReadFile("../../test/e2e/differences_test.go")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what |") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(line, "|\n "), " | ")
		require.Len(t, cells, 5, line)
		holders := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[4], -1)
		require.NotEmpty(t, holders, line)
		for _, h := range holders {
			require.True(t, isHeld(t, h[1], string(conversations)), "there is no %s: %s", h[1], line)
		}
	}
	require.Greater(t, rows, 20)
}

// isHeld reports whether what a row names exists: a conversation, a script, or a test.
func isHeld(t *testing.T, by, conversations string) bool {
	dir, test, isTest := strings.Cut(by, ": ")
	switch {
	case !isTest && strings.HasSuffix(by, ".txtar"):
		_, err := os.Stat(filepath.Join("..", "..", by))
		return err == nil
	case !isTest:
		return strings.Contains(conversations, `"`+by+`":`)
	}
	files, err := filepath.Glob(filepath.Join("..", "..", dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(text), "\nfunc "+test+"(") {
			return true
		}
	}
	return false
}

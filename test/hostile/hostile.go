// Package hostile is for tests that attack: it says how much each attacks, changes
// bytes as somebody does who means harm, and keeps the figures. The attacks are
// the tests whose names begin with TestHostile, where what they attack is tested.
package hostile

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// figuresVariable is the environment variable that names a file for figures. Where
// it is given, tests attack at length.
const figuresVariable = "ALBATROSS_HOSTILE"

// Choose is how much to attack: little in an ordinary run of the tests.
func Choose[T any](little, much T) T {
	if os.Getenv(figuresVariable) == "" {
		return little
	}
	return much
}

// Figure notes a row of the table of figures, where it is wanted. A test that has
// failed has none.
func Figure(t *testing.T, name string, value any) {
	t.Helper()
	t.Logf("%s: %v", name, value)
	path := os.Getenv(figuresVariable)
	if path == "" || t.Failed() {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer f.Close()
	_, err = fmt.Fprintf(f, "| %s | %v |\n", name, value)
	require.NoError(t, err)
}

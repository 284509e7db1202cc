// Package hostile is for tests that attack. It returns how much each attacks, changes bytes as an
// attacker does, and keeps the figures. The attacks are the tests whose names begin with
// TestHostile, each beside what it attacks.
package hostile

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// figuresVariable is the environment variable that names a file for figures. With it, tests attack
// at length.
const figuresVariable = "ALBATROSS_HOSTILE"

// Choose returns how much to attack: little in an ordinary run of the tests.
func Choose[T any](little, much T) T {
	if os.Getenv(figuresVariable) == "" {
		return little
	}
	return much
}

// Figure adds a row to the table of figures, if there is one. A test that has failed adds none.
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

package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestColours: names are coloured on a terminal, unless its user wants none.
func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = terminal.Close() }()
	a := &app{stdout: terminal, color: "auto"}
	t.Setenv("NO_COLOR", "")
	require.True(t, a.colours())
	t.Setenv("NO_COLOR", "1")
	require.False(t, a.colours())
	a.color = "always"
	require.True(t, a.colours())
	t.Setenv("NO_COLOR", "")
	a.color = "never"
	require.False(t, a.colours())
	a.color = "auto"
	a.stdout = &bytes.Buffer{}
	require.False(t, a.colours())
}

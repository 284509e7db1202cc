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
	p := printer{stdout: terminal, color: "auto"}
	t.Setenv("NO_COLOR", "")
	require.True(t, p.colours())
	t.Setenv("NO_COLOR", "1")
	require.False(t, p.colours())
	p.color = "always"
	require.True(t, p.colours())
	t.Setenv("NO_COLOR", "")
	p.color = "never"
	require.False(t, p.colours())
	p.color = "auto"
	p.stdout = &bytes.Buffer{}
	require.False(t, p.colours())
}

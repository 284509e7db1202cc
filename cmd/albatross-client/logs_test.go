package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// TestColours: names are coloured on a terminal, unless its user wants none.
func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = terminal.Close() }()
	a := &app{stdout: terminal}
	c := &cobra.Command{}
	c.Flags().String(colorOption, "auto", "")
	t.Setenv("NO_COLOR", "")
	require.True(t, a.colours(c))
	t.Setenv("NO_COLOR", "1")
	require.False(t, a.colours(c))
	require.NoError(t, c.Flags().Set(colorOption, "always"))
	require.True(t, a.colours(c))
	t.Setenv("NO_COLOR", "")
	require.NoError(t, c.Flags().Set(colorOption, "never"))
	require.False(t, a.colours(c))
	require.NoError(t, c.Flags().Set(colorOption, "auto"))
	a.stdout = &bytes.Buffer{}
	require.False(t, a.colours(c))
}

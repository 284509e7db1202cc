package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinkLowerCase: files that exist stay unchanged, and a second call changes nothing.
func TestLinkLowerCase(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{":Disk", ":Both", ":both", ":plain", "Readme"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	linked, err := linkLowerCase(dir)
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, ":disk")}, linked)
	requireFiles(t, dir, ":Both", ":Disk", ":both", ":disk", ":plain", "Readme")
	target, err := os.Readlink(linked[0])
	require.NoError(t, err)
	require.Equal(t, ":Disk", target)
	linked, err = linkLowerCase(dir)
	require.NoError(t, err)
	require.Empty(t, linked)
	_, err = linkLowerCase(filepath.Join(dir, "none"))
	require.Error(t, err)
}

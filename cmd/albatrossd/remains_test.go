package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWritersBehindALink: writers are found also if the path of the directory contains a link.
func TestWritersBehindALink(t *testing.T) {
	top := t.TempDir()
	link, dir := filepath.Join(t.TempDir(), "link"), filepath.Join(top, "fifo")
	require.NoError(t, os.Symlink(top, link))
	require.NoError(t, os.Mkdir(dir, 0o700))
	output, err := os.Create(filepath.Join(dir, "x"))
	require.NoError(t, err)
	defer output.Close()
	c := exec.Command("cat")
	c.Stdout = output
	input, err := c.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	pid := []string{strconv.Itoa(c.Process.Pid)}
	require.Equal(t, pid, writers(dir))
	require.Equal(t, pid, writers(filepath.Join(link, "fifo")))
	require.NoError(t, os.RemoveAll(dir))
	require.Equal(t, pid, writers(filepath.Join(link, "fifo")), "the directory is gone")
	require.NoError(t, input.Close())
	require.NoError(t, c.Wait())
}

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestContentsThatFit(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		bytes int64
		size  int // MB
		fits  bool
	}{
		{0, 1, true},
		{mb - 1, 1, true},
		{mb, 1, true},
		{mb + 1, 1, false},
		{3*mb + 1, 4, true},
		{4*mb + 1, 4, false},
		{1 << 62, messages.MaxInt, true},
		{-1, 1, true}, // the size is not known
	} {
		require.Equal(t, c.fits, (&contents{size: c.bytes}).fits(c.size), "%d bytes in %d MB", c.bytes, c.size)
	}
}

func TestOpenContents(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(path, []byte("four"), 0o600))
	f, err := openContents(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, int64(4), f.size)

	null, err := openContents(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	require.Equal(t, int64(-1), null.size)

	_, err = openContents(dir)
	require.Equal(t, inputError("cannot read "+dir+": it is a directory"), err)
	_, err = openContents(filepath.Join(dir, "nothing"))
	require.Equal(t, inputError("cannot read "+dir+"/nothing: no such file or directory"), err)
}

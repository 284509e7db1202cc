package registry

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnImageInAFile: it has no name, also while it is used, and after an error nothing is left.
func TestAnImageInAFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	isEmpty := func() {
		t.Helper()
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	l := newLiar(t)
	c := newClient(t, Options{})
	a, err := c.Resolve(t.Context(), l.pushed)
	require.NoError(t, err)
	kept, err := c.FetchFile(t.Context(), a, a.Targets[0])
	require.NoError(t, err)
	require.Equal(t, web[0].Contents, kept.Contents)
	isEmpty()
	require.NoError(t, kept.Close())
	require.NoError(t, kept.Close(), "once is enough")

	lies := a.Targets[0]
	lies.SHA256 = a.Targets[1].SHA256
	_, err = c.FetchFile(t.Context(), a, lies)
	require.ErrorContains(t, err, "its image has 100000 bytes with the SHA-256")
	isEmpty()
	t.Setenv("TMPDIR", dir+"/none")
	_, err = c.FetchFile(t.Context(), a, a.Targets[0])
	require.ErrorContains(t, err, "cannot keep an image: open ")
}

// full has room for some bytes.
type full struct{ room int }

var errFull = errors.New("no space left")

func (f *full) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

// TestADiskThatIsFull is no fault of the registry's.
func TestADiskThatIsFull(t *testing.T) {
	l := newLiar(t)
	c := newClient(t, Options{})
	a, err := c.Resolve(t.Context(), l.pushed)
	require.NoError(t, err)
	err = c.FetchTo(t.Context(), a, a.Targets[0], &full{room: 50_000})
	require.ErrorIs(t, err, errFull)
	require.ErrorContains(t, err, "cannot keep the image of oci://")
	var blamed *Error
	require.False(t, errors.As(err, &blamed))
	require.NoError(t, c.FetchTo(t.Context(), a, a.Targets[0], io.Discard))
}

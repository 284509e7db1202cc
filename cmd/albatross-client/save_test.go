package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

var disk = messages.Name{Path: "a", Label: "disk"}

func inTempDir(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func TestSave(t *testing.T) {
	dir := inTempDir(t)
	start := time.Now().UTC().Truncate(time.Second)
	path, err := save(disk, strings.NewReader("contents"))
	require.NoError(t, err)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "contents", string(got))
	stat, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), stat.Mode(), "contents may be secret")

	saved, ok := strings.CutPrefix(path, filepath.Join(dir, "a:disk."))
	require.True(t, ok, path)
	at, err := time.Parse(timeLayout, saved)
	require.NoError(t, err)
	require.False(t, at.Before(start) || at.After(time.Now()), path)
	requireFiles(t, dir, filepath.Base(path))
}

// TestSaveNothingHalf: while it is being written, and if that fails, no file has the name.
func TestSaveNothingHalf(t *testing.T) {
	dir := inTempDir(t)
	cut := errors.New("cut off")
	_, err := save(disk, io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(cut)))
	require.ErrorIs(t, err, cut)
	requireFiles(t, dir)

	looks := 0
	_, err = save(disk, io.MultiReader(strings.NewReader("cont"), reader(func([]byte) (int, error) {
		matches, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		require.Len(t, matches, 1)
		require.True(t, strings.HasSuffix(matches[0], ".part"), matches)
		looks++
		return 0, io.EOF
	})))
	require.NoError(t, err)
	require.Equal(t, 1, looks)
}

type reader func([]byte) (int, error)

func (r reader) Read(b []byte) (int, error) { return r(b) }

// TestLink: a file or link that has the name already stays, and is not followed.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(in("file"), []byte("new"), 0o600))
	require.NoError(t, os.WriteFile(in("x"), []byte("old"), 0o600))
	require.NoError(t, os.Symlink(in("nowhere"), in("x.1")))
	require.NoError(t, os.Mkdir(in("x.2"), 0o700))

	path, err := link(in("file"), in("x"))
	require.NoError(t, err)
	require.Equal(t, in("x.3"), path)
	old, err := os.ReadFile(in("x"))
	require.NoError(t, err)
	require.Equal(t, "old", string(old))
	require.NoFileExists(t, in("nowhere"))

	for range attempts - 4 {
		_, err = link(in("file"), in("x"))
		require.NoError(t, err)
	}
	_, err = link(in("file"), in("x"))
	require.ErrorIs(t, err, os.ErrExist)
	_, err = link(in("gone"), in("y"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func requireFiles(t *testing.T, dir string, want ...string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, want, names)
}

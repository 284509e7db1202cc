package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/durable"
)

// names returns the names of the files in a directory.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func requireFile(t *testing.T, path, contents string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, contents, string(got))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, mode, info.Mode().Perm())
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	require.NoError(t, durable.Replace(path, []byte("old"), 0o600))
	requireFile(t, path, "old", 0o600)
	require.NoError(t, durable.Replace(path, []byte("new"), 0o644))
	requireFile(t, path, "new", 0o644)
	require.Equal(t, []string{"x"}, names(t, dir))
}

// TestReplaceOfWhatCannotBe: no file is left behind.
func TestReplaceOfWhatCannotBe(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "within"), 0o700))
	require.ErrorContains(t, durable.Replace(path, []byte("new"), 0o600), "cannot write "+path+": ")
	require.Equal(t, []string{"x"}, names(t, dir))
}

func TestCreateWhereThereIsOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	require.NoError(t, durable.Create(path, []byte("first"), 0o600))
	require.ErrorIs(t, durable.Create(path, []byte("second"), 0o600), fs.ErrExist)
	requireFile(t, path, "first", 0o600)
	require.Equal(t, []string{"x"}, names(t, dir))
}

// TestRename: the file stays open, and an error leaves it under its temporary name.
func TestRename(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "temporary"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("contents")
	require.NoError(t, err)
	require.Error(t, durable.Rename(f, filepath.Join(dir, "none", "x")))
	require.Equal(t, []string{"temporary"}, names(t, dir))
	require.NoError(t, durable.Rename(f, filepath.Join(dir, "x")))
	_, err = f.WriteString(", and more")
	require.NoError(t, err)
	requireFile(t, filepath.Join(dir, "x"), "contents, and more", 0o644)
	require.NoError(t, durable.SyncDir(dir))
	require.ErrorIs(t, durable.SyncDir(filepath.Join(dir, "none")), fs.ErrNotExist)
}

// TestClean removes what a crash has left of one file, and nothing else.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.1.part", "x.part", "x", "x.y", "xx.1.part", "y.1.part"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, durable.Clean(filepath.Join(dir, "x")))
	require.Equal(t, []string{"x", "x.y", "xx.1.part", "y.1.part"}, names(t, dir))
	require.ErrorIs(t, durable.Clean(filepath.Join(dir, "none", "x")), fs.ErrNotExist)
}

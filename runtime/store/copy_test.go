package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/store"
)

// copied returns the names of the unikernels in the copy.
func copied(t *testing.T, dir string) (names []string) {
	t.Helper()
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, store.DBFile), []byte(contents(t, filepath.Join(dir, store.CopyFile))), 0o600))
	for _, r := range load(t, open(t, other)) {
		names = append(names, r.Name.String())
	}
	return names
}

func TestACopyIsKeptAtEachStart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, store.CopyFile)
	db := open(t, dir)
	require.NoFileExists(t, path, "there was nothing to be copied")
	var want []string
	for _, n := range []string{":a", ":b", ":c"} {
		require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, n), Spec: spec(1)}}))
		require.NoError(t, db.Close())
		db = open(t, dir)
		require.NoError(t, db.Uncopied)
		want = append(want, n)
		require.Equal(t, want, copied(t, dir))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.NoFileExists(t, path+".tmp")
}

// TestTheCopyStays unchanged if the database is damaged, or there is no room for another one.
func TestTheCopyStays(t *testing.T) {
	dir := smallDisk(t, 8)
	db := open(t, dir)
	require.NoError(t, db.Apply([]messages.Change{messages.PutSpec{Name: name(t, "a"), Spec: spec(1)}}))
	require.NoError(t, db.Close())
	require.NoError(t, open(t, dir).Close())
	before := contents(t, filepath.Join(dir, store.CopyFile))

	fillUp(t, dir)
	db = open(t, dir)
	require.ErrorIs(t, db.Uncopied, unix.ENOSPC)
	require.NoError(t, db.Apply([]messages.Change{messages.DeleteUnikernel{Name: name(t, "a")}}))
	require.NoError(t, db.Close())
	require.Equal(t, before, contents(t, filepath.Join(dir, store.CopyFile)))

	require.NoError(t, os.Truncate(filepath.Join(dir, store.DBFile), 8192))
	refused(t, dir)
	require.Equal(t, before, contents(t, filepath.Join(dir, store.CopyFile)))
	require.Equal(t, []string{":a"}, copied(t, dir))
}

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	requireMissing := func(want bool, dir string) {
		t.Helper()
		missing, err := store.Missing(dir)
		require.NoError(t, err)
		require.Equal(t, want, missing)
	}
	requireMissing(true, filepath.Join(dir, "none"))
	requireMissing(true, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, store.DBFile), nil, 0o600))
	requireMissing(true, dir)
	require.NoError(t, open(t, dir).Close())
	requireMissing(false, dir)
}

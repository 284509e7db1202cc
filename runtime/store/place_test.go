package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

// TestNothingIsStoredInAFileThatIsNotThere: a change that the next start would not find is refused,
// until the file is back.
func TestNothingIsStoredInAFileThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	path, away := filepath.Join(dir, store.DBFile), filepath.Join(dir, "away")
	db := open(t, dir)
	one, two := messages.PutSpec{Name: name(t, "one"), Spec: spec(1)}, messages.PutSpec{Name: name(t, "two"), Spec: spec(2)}
	require.NoError(t, db.Apply([]messages.Change{one}))
	for what, put := range map[string]func() error{
		"nothing":   func() error { return nil },
		"a copy":    func() error { return os.WriteFile(path, []byte(contents(t, away)), 0o600) },
		"a link":    func() error { return os.Symlink(away, path) },
		"directory": func() error { return os.Mkdir(path, 0o700) },
	} {
		require.NoError(t, os.Rename(path, away))
		require.NoError(t, put(), what)
		before := contents(t, away)
		err := db.Apply([]messages.Change{two})
		require.ErrorIs(t, err, store.ErrAway, what)
		require.NotContains(t, err.Error(), dir, "clients read it")
		require.ErrorIs(t, db.Apply([]messages.Change{messages.DeleteUnikernel{Name: one.Name}}), store.ErrAway, what)
		require.Equal(t, before, contents(t, away), what)
		require.NoError(t, db.UseReserve(), what)
		used := contents(t, away)
		require.NoError(t, db.Room(), what)
		require.Equal(t, used, contents(t, away), what)

		open := regexp.MustCompile(`/proc/\d+/fd/\d+`).FindString(db.InPlace().Error())
		require.Equal(t, used, contents(t, open), "the file that the log says to copy")
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.Rename(away, path))
	}
	require.NoError(t, db.Apply([]messages.Change{two}))
	require.Len(t, load(t, db), 2)
}

// TestAFileThatGoesDuringACommit: the error says neither that the change is stored, nor that it was
// not written.
func TestAFileThatGoesDuringACommit(t *testing.T) {
	dir := t.TempDir()
	path, away := filepath.Join(dir, store.DBFile), filepath.Join(dir, "away")
	db := open(t, dir)
	release, err := db.Occupy()
	require.NoError(t, err)
	applied, looked := make(chan error, 1), db.Reads()
	go func() { applied <- db.Apply([]messages.Change{messages.PutSpec{Name: name(t, "one"), Spec: spec(1)}}) }()
	require.Eventually(t, func() bool { return db.Reads() > looked }, time.Minute, time.Millisecond, "it has looked before")
	require.NoError(t, os.Rename(path, away))
	require.NoError(t, release())
	err = <-applied
	require.ErrorContains(t, err, "while this was stored")
	require.NotErrorIs(t, err, store.ErrAway)
	require.NoError(t, os.Rename(away, path))
	require.Len(t, load(t, db), 1)
}

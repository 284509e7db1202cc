package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

// TestNothingIsStoredInAFileThatIsNotThere: what the next start would not read is
// refused, until the file is back.
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
		require.ErrorContains(t, err, "somebody has removed or replaced the database under the daemon", what)
		require.ErrorContains(t, db.Apply([]messages.Change{messages.DeleteUnikernel{Name: one.Name}}), "removed or replaced", what)
		require.Equal(t, before, contents(t, away), what)

		open := regexp.MustCompile(`/proc/\d+/fd/\d+`).FindString(err.Error())
		require.Equal(t, before, contents(t, open), "the file that it tells to copy")
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.Rename(away, path))
	}
	require.NoError(t, db.Apply([]messages.Change{two}))
	require.Len(t, load(t, db), 2)
}

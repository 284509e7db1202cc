package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/fifo"

	"albatross/messages"
)

// daemonDirs makes the directories of a daemon.
func daemonDirs(t *testing.T, tmpdir, dbdir string) options {
	t.Helper()
	o := options{tmpdir: tmpdir, dbdir: dbdir}
	require.NoError(t, makeDatabaseDir(o))
	require.NoError(t, makeDirs(o, -1))
	return o
}

func TestWhoseDirectoryItIs(t *testing.T) {
	x := messages.Name{Label: "x"}
	for name, tc := range map[string]struct {
		between func(t *testing.T, first, second *options) // what happens after the first daemon
		pipe    bool                                       // it leaves a pipe
		refused string
	}{
		"the same daemon": {
			func(_ *testing.T, first, second *options) { *second = *first }, true, ""},
		"another one, and nothing is left": {
			func(*testing.T, *options, *options) {}, false, ""},
		"another one, and pipes are left": {
			func(*testing.T, *options, *options) {}, true, "it belongs to the daemon with --dbdir "},
		"its database was moved": {
			func(t *testing.T, first, second *options) {
				require.NoError(t, os.RemoveAll(second.dbdir))
				require.NoError(t, os.Rename(first.dbdir, second.dbdir))
			}, true, ""},
		"its database was restored in place": {
			func(t *testing.T, first, second *options) {
				require.NoError(t, os.Rename(first.dbdir, first.dbdir+"-before"))
				require.NoError(t, os.Mkdir(first.dbdir, 0o700))
				*second = *first
			}, true, ""},
		"its database is reached by a link": {
			func(t *testing.T, first, second *options) {
				require.NoError(t, os.RemoveAll(second.dbdir))
				require.NoError(t, os.Symlink(first.dbdir, second.dbdir))
			}, true, ""},
		"the file is damaged": {
			func(t *testing.T, first, second *options) {
				require.NoError(t, os.WriteFile(filepath.Join(first.tmpdir, ownerFile), []byte("{"), 0o600))
			}, true, "cannot be understood"},
		"the file is gone, as an older daemon has left it": {
			func(t *testing.T, first, second *options) {
				require.NoError(t, os.Remove(filepath.Join(first.tmpdir, ownerFile)))
			}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tmpdir := filepath.Join(dir, "tmp")
			first := daemonDirs(t, tmpdir, filepath.Join(dir, "first"))
			second := daemonDirs(t, tmpdir, filepath.Join(dir, "second"))
			c, err := claimDir(first)
			require.NoError(t, err)
			if tc.pipe {
				require.NoError(t, fifo.Create(fifo.Path(fifoDir(first), x)))
			}
			require.NoError(t, c.close())

			tc.between(t, &first, &second)
			c, err = claimDir(second)
			if tc.refused != "" {
				require.ErrorContains(t, err, tc.refused)
				require.FileExists(t, filepath.Join(tmpdir, ownerFile))
				return
			}
			require.NoError(t, err)
			defer c.close()
			written, found, err := readOwner(filepath.Join(tmpdir, ownerFile))
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, c.owner, written)
		})
	}
}

// TestWhatAKilledDaemonLeavesOfItsFile is removed.
func TestWhatAKilledDaemonLeavesOfItsFile(t *testing.T) {
	dir := t.TempDir()
	o := daemonDirs(t, filepath.Join(dir, "tmp"), filepath.Join(dir, "db"))
	part := filepath.Join(o.tmpdir, ownerFile+".7.part")
	require.NoError(t, os.WriteFile(part, nil, 0o600))
	c, err := claimDir(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.close()) }()
	require.NoFileExists(t, part)
}

// TestTwoAtATime: the second daemon cannot claim the directory, and not after the directory was
// removed and the first one has made it again.
func TestTwoAtATime(t *testing.T) {
	dir := t.TempDir()
	tmpdir := filepath.Join(dir, "tmp")
	first := daemonDirs(t, tmpdir, filepath.Join(dir, "first"))
	second := daemonDirs(t, tmpdir, filepath.Join(dir, "second"))
	c, err := claimDir(first)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.close()) }()
	_, err = claimDir(second)
	require.ErrorIs(t, err, errLocked)

	require.NoError(t, os.Remove(filepath.Join(tmpdir, ownerFile)))
	require.NoError(t, c.renew())
	require.FileExists(t, filepath.Join(tmpdir, ownerFile))

	require.NoError(t, os.RemoveAll(tmpdir))
	require.NoError(t, makeDirs(first, -1))
	require.NoError(t, c.renew())
	require.FileExists(t, filepath.Join(tmpdir, ownerFile))
	_, err = claimDir(second)
	require.ErrorIs(t, err, errLocked)

	require.NoError(t, os.RemoveAll(tmpdir))
	require.NoError(t, makeDirs(second, -1))
	other, err := claimDir(second)
	require.NoError(t, err)
	require.ErrorIs(t, c.renew(), errLocked, "somebody else was faster")
	require.NoError(t, other.close())
	require.NoError(t, c.renew())
}

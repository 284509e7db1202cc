package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// someGroup is a group without members.
const someGroup = 54321

func needsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to any group")
	}
}

// shown returns the mode and the group of a directory.
func shown(t *testing.T, dir string) string {
	info, err := os.Stat(dir)
	require.NoError(t, err)
	return fmt.Sprintf("%04o %d", info.Mode().Perm(), info.Sys().(*syscall.Stat_t).Gid)
}

// TestDirsThatAreMade: the group can enter all that the daemon makes, whatever the umask is, and
// also what was removed meanwhile.
func TestDirsThatAreMade(t *testing.T) {
	needsRoot(t)
	for _, umask := range []int{0o077, 0o022, 0} {
		top := t.TempDir()
		before := shown(t, top)
		o := options{tmpdir: filepath.Join(top, "a", "b")}
		old := unix.Umask(umask)
		err := makeDirs(o, someGroup)
		unix.Umask(old)
		require.NoError(t, err)
		want := fmt.Sprintf("0750 %d", someGroup)
		for _, dir := range []string{filepath.Join(top, "a"), o.tmpdir, utilDir(o), fifoDir(o)} {
			require.Equal(t, want, shown(t, dir), dir)
		}
		require.Equal(t, before, shown(t, top))
		require.NoError(t, os.RemoveAll(utilDir(o)))
		require.NoError(t, makeDirs(o, someGroup))
		require.Equal(t, want, shown(t, utilDir(o)))
	}
}

// TestDirsThatAreThere: directories of a former daemon that kept the group out are given to it.
// Directories above them stay unchanged, and the log says so.
func TestDirsThatAreThere(t *testing.T) {
	needsRoot(t)
	o := options{tmpdir: t.TempDir()}
	require.NoError(t, os.Chmod(o.tmpdir, 0o750))
	before := shown(t, o.tmpdir)
	require.NoError(t, os.Mkdir(utilDir(o), 0o750))
	require.NoError(t, os.Mkdir(fifoDir(o), 0o755))
	var log bytes.Buffer
	start := func(gid int) {
		require.NoError(t, makeDirs(o, gid))
		require.NoError(t, shareDirs(o, gid, slog.New(slog.NewTextHandler(&log, nil))))
	}
	start(-1)
	require.Equal(t, "0750 0", shown(t, utilDir(o)), "there is no group")
	require.Empty(t, log.String())

	start(someGroup)
	require.Equal(t, fmt.Sprintf("0750 %d", someGroup), shown(t, utilDir(o)))
	require.Equal(t, "0755 0", shown(t, fifoDir(o)), "everybody can go there")
	require.Equal(t, before, shown(t, o.tmpdir))
	require.Contains(t, log.String(), `level=WARN msg="The group albatross cannot reach the sockets`)

	log.Reset()
	require.NoError(t, os.Chmod(o.tmpdir, 0o755))
	start(someGroup)
	require.Empty(t, log.String())
}

// TestDirsThatCannotBe: the error names the file that is in the way.
func TestDirsThatCannotBe(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o600))
	require.ErrorIs(t, makeDirs(options{tmpdir: filepath.Join(top, "file")}, -1), syscall.ENOTDIR)
	require.NoError(t, os.WriteFile(filepath.Join(top, "util"), nil, 0o600))
	require.ErrorIs(t, makeDirs(options{tmpdir: top}, -1), syscall.ENOTDIR)
	require.NoError(t, os.Symlink("nowhere", filepath.Join(top, "link")))
	require.ErrorIs(t, makeDirs(options{tmpdir: filepath.Join(top, "link")}, -1), fs.ErrNotExist)
}

// TestFilesThatOthersCanWrite: the daemon refuses a file that it would trust, with the command that
// mends it.
func TestFilesThatOthersCanWrite(t *testing.T) {
	for _, file := range []string{"state.db", "state.db.copy", "state.db.copy.kept", "state"} {
		t.Run(file, func(t *testing.T) {
			o := daemonDirs(t, filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "db"))
			path := filepath.Join(o.dbdir, file)
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, makeDatabaseDir(o))
			require.NoError(t, os.Chmod(path, 0o620))
			require.ErrorContains(t, makeDatabaseDir(o), "others may write to it, with mode 620: chmod go-w "+path)
		})
	}
	o := daemonDirs(t, filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "db"))
	c, err := claimDir(o)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(c.file(), 0o666))
	require.NoError(t, c.dir.Close())
	_, err = claimDir(o)
	require.ErrorContains(t, err, "others may write to it, with mode 666: chmod go-w "+c.file())
}

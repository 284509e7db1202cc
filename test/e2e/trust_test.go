package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// TestDirectoriesOfOthers: the daemon does not start in directories that another user could change,
// makes nothing there, and prints the command that mends each.
func TestDirectoriesOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to others")
	}
	const somebody = 65534
	for name, spoil := range map[string]func(h *host, dir string) error{
		"of another":      func(_ *host, dir string) error { return os.Chown(dir, somebody, -1) },
		"open to all":     func(_ *host, dir string) error { return os.Chmod(dir, 0o777) },
		"a group's":       func(_ *host, dir string) error { return os.Chmod(dir, 0o770) },
		"a link's target": func(h *host, dir string) error { return h.moveAway(dir, 0) },
		"a link":          func(h *host, dir string) error { return h.moveAway(dir, somebody) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, dir := range []string{"above", "above/run", "above/run/util", "above/run/fifo", "above/db", "above/db/block", "above/db/images", "above/db/console"} {
				h := emptyHost(t)
				h.args = []string{"--tmpdir", h.path("above/run"), "--dbdir", h.path("above/db")}
				require.NoError(t, os.MkdirAll(h.path(dir), 0o755))
				require.NoError(t, spoil(h, h.path(dir)))
				said := h.refused(h.args...)
				require.Contains(t, said, "cannot use "+h.dir, dir)
				require.NoFileExists(t, h.path("above/db/state.db"), dir)
				mended(t, said)
			}
		})
	}
}

// moveAway replaces a directory by a link that belongs to owner. If that is root, everybody may
// write to the target.
func (h *host) moveAway(dir string, owner int) error {
	target := h.path("target")
	if err := os.Rename(dir, target); err != nil {
		return err
	}
	if owner == 0 {
		if err := os.Chmod(target, 0o777); err != nil {
			return err
		}
	}
	if err := os.Symlink(target, dir); err != nil {
		return err
	}
	return os.Lchown(dir, owner, -1)
}

// mended runs the command in a refusal.
func mended(t *testing.T, said string) {
	t.Helper()
	said = strings.TrimSpace(said)
	out, err := exec.Command("/bin/sh", "-c", said[strings.LastIndex(said, ": ")+2:]).CombinedOutput()
	require.NoError(t, err, "%s: %s", said, out)
}

// TestMendedDirectories: after the commands in the refusals, the daemon starts. It accepts a link
// of root to another disk.
func TestMendedDirectories(t *testing.T) {
	h := emptyHost(t)
	require.NoError(t, os.MkdirAll(h.path("disk/block"), 0o755))
	require.NoError(t, os.Symlink("disk", h.path("db")))
	require.NoError(t, os.MkdirAll(h.path("util"), 0o755))
	require.NoError(t, os.Chmod(h.path("util"), 0o777))
	require.NoError(t, os.Chmod(h.path("disk"), 0o775))
	for range 2 {
		mended(t, h.refused())
	}
	h.start()
	h.create("x", guest("hello", "--quiet"))
	require.FileExists(t, filepath.Join(h.dir, "disk/state.db"))
	h.requireText("destroyed unikernel", "x", messages.UnikernelDestroy{})
}

package e2e

import (
	"os"
	"path/filepath"

	"github.com/stretchr/testify/require"
)

// cgroup returns the cgroup below which the daemon has its own. Each host has another one.
func (h *host) cgroup() string { return filepath.Base(h.dir) }

// cgroupParents returns the directories of that cgroup, one in each hierarchy that has it: those of
// version 1 are mounted beside each other, or beside that of version 2.
func (h *host) cgroupParents() (dirs []string) {
	for _, hierarchy := range []string{"", "*"} {
		found, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", hierarchy, h.cgroup()))
		require.NoError(h.t, err)
		dirs = append(dirs, found...)
	}
	return dirs
}

// cgroups returns the directories of the cgroups of unikernels.
func (h *host) cgroups() (dirs []string) {
	for _, parent := range h.cgroupParents() {
		entries, err := os.ReadDir(parent)
		require.NoError(h.t, err)
		for _, e := range entries {
			if e.IsDir() {
				dirs = append(dirs, filepath.Join(parent, e.Name()))
			}
		}
	}
	return dirs
}

// removeCgroups removes all of them, after the processes in them have ended.
func (h *host) removeCgroups() {
	h.until("no cgroup is left", func() bool {
		for _, dir := range append(h.cgroups(), h.cgroupParents()...) {
			_ = os.Remove(dir) // a process that was killed may still be in it
		}
		return len(h.cgroupParents()) == 0
	})
}

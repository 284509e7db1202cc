package cgroup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// contained runs as a daemon in a container, whose cgroups are mounted as how says. It prints the
// error of Open for a parent, which Possible must have foreseen.
func contained(how, parent string) {
	mounts, err := findMounts()
	for i := len(mounts) - 1; i >= 0 && err == nil; i-- {
		err = mountAgain(mounts[i].dir, how, parent)
	}
	if err != nil {
		fmt.Println("the container cannot be made:", err)
		os.Exit(1)
	}
	if Possible() == nil {
		fmt.Println("it would be possible")
	}
	_, err = Open(parent)
	fmt.Print(err)
	os.Exit(0)
}

// mountAgain changes how a hierarchy is mounted in this mount namespace.
func mountAgain(dir, how, parent string) error {
	if how == "read-only" {
		return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	part, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(dir, parent), unix.OPEN_TREE_CLONE)
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return err
	}
	if how == "nothing" || err == unix.ENOENT { // that hierarchy has no cgroup of ours
		return nil
	}
	return errors.Join(err, unix.MoveMount(part, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

func TestOpenInAContainer(t *testing.T) {
	there := filepath.Base(newTree(t).branches[0].parent)
	for _, test := range []struct{ how, parent, want string }{
		{"read-only", there, unix.EROFS.Error()},
		{"read-only", "albatross-test-none", unix.EROFS.Error()},
		{"part", there, errNone.Error()},
		{"nothing", there, errNone.Error()},
	} {
		t.Run(test.how, func(t *testing.T) {
			c := exec.Command(os.Args[0], "container", test.how, test.parent)
			c.Env = []string{"GORACE=atexit_sleep_ms=0"}
			c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			said, err := c.CombinedOutput()
			require.NoError(t, err, "%s", said)
			require.Regexp(t, "^cannot use cgroups: .*"+test.want+"$", string(said))
		})
	}
}

func TestPossible(t *testing.T) {
	usable(t)
	require.NoError(t, Possible())
}

func TestOpenByNobodySpecial(t *testing.T) {
	usable(t)
	runtime.LockOSThread() // each thread has a user for file access of its own
	defer runtime.UnlockOSThread()
	require.NoError(t, unix.Setfsuid(65534))
	_, err := Open("albatross-test-" + rand.Text())
	require.NoError(t, unix.Setfsuid(0))
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "cannot use cgroups: ")
}

func TestOpenThatFailsLeavesNothing(t *testing.T) {
	parent := "albatross-test-" + rand.Text()
	for name, files := range map[string][]string{
		"before it has made a parent": nil,
		"after it":                    {"cgroup.subtree_control"},
	} {
		t.Run(name, func(t *testing.T) {
			some, broken := only(t, memory), mount{dir: t.TempDir(), v2: true, controllers: []string{cpuset}}
			for _, file := range files {
				require.NoError(t, os.WriteFile(filepath.Join(broken.dir, file), nil, 0o600))
			}
			_, err := open(append(some, broken), parent)
			require.ErrorIs(t, err, os.ErrNotExist)
			require.NoDirExists(t, filepath.Join(some[0].dir, parent))
			left, err := os.ReadDir(broken.dir)
			require.NoError(t, err)
			require.Len(t, left, len(files), "nothing is made where there is no cgroup")
		})
	}
}

func TestOpenThatFailsLeavesWhatIsInUse(t *testing.T) {
	tree, name := newTreeIn(t, only(t, memory)), parse(t, "hello")
	require.NoError(t, tree.Create(name, noLimits))
	broken := mount{dir: t.TempDir(), v2: true, controllers: []string{cpuset}}
	b := tree.branches[0]
	_, err := open([]mount{{dir: b.root, v2: b.v2, controllers: b.controllers}, broken}, filepath.Base(b.parent))
	require.Error(t, err)
	require.DirExists(t, b.path(name))
}

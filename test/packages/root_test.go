// Package packages installs, upgrades and removes the packages of `make packages` in a Debian of its
// own, runs the programs there, and follows the commands of docs/from-native.md. `make package-test`
// prepares all of this; without that the tests are skipped.
package packages

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/netns"
)

// The environment says what `make package-test` has prepared.
const (
	rootVariable     = "ALBATROSS_ROOT"     // a Debian, which stays as it is
	packagesVariable = "ALBATROSS_PACKAGES" // a directory with one of packages for each version
)

// The versions of the packages.
const (
	older = "0.1.0"
	newer = "0.2.0"
)

// patience is how long anything may take.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	netns.Enter()
	os.Exit(m.Run())
}

// A root is a fresh Debian, in memory.
type root struct {
	t    *testing.T
	base string // what it was in the beginning
	dir  string
}

func newRoot(t *testing.T) *root {
	base := os.Getenv(rootVariable)
	if base == "" || os.Getenv(packagesVariable) == "" {
		t.Skip("there is no Debian to install packages in: make package-test prepares one")
	}
	if os.Geteuid() != 0 {
		t.Skip("packages are installed by root")
	}
	netns.Need(t)
	r := &root{t: t, base: base, dir: filepath.Join(t.TempDir(), "root")}
	memory := t.TempDir()
	r.mount("tmpfs", memory, "tmpfs", 0, "")
	upper, work := filepath.Join(memory, "upper"), filepath.Join(memory, "work")
	for _, dir := range []string{r.dir, upper, work} {
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	r.mount("overlay", r.dir, "overlay", 0, "lowerdir="+base+",upperdir="+upper+",workdir="+work)
	r.mount("proc", r.path("/proc"), "proc", 0, "")
	r.mount("sysfs", r.path("/sys"), "sysfs", unix.MS_RDONLY, "") // without cgroups, which others see
	r.mount("/dev", r.path("/dev"), "", unix.MS_BIND, "")
	r.mount("tmpfs", r.path("/run"), "tmpfs", 0, "mode=755")
	r.mount("tmpfs", r.path("/tmp"), "tmpfs", 0, "mode=1777")
	return r
}

func (r *root) mount(source, target, kind string, flags uintptr, options string) {
	r.t.Helper()
	require.NoError(r.t, unix.Mount(source, target, kind, flags, options), "%s on %s", kind, target)
	r.t.Cleanup(func() { require.NoError(r.t, unix.Unmount(target, unix.MNT_DETACH)) })
}

// path returns the path outside of what has a path in the root.
func (r *root) path(inside string) string { return filepath.Join(r.dir, inside) }

// packageFile copies a package to the root, and returns its path there.
func (r *root) packageFile(version, pattern string) string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv(packagesVariable), version, pattern))
	require.NoError(r.t, err)
	require.Len(r.t, found, 1, "%s of version %s", pattern, version)
	inside := filepath.Join("/tmp", filepath.Base(found[0]))
	r.copyFile(found[0], inside)
	return inside
}

func (r *root) copyFile(from, inside string) {
	r.t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(r.t, err)
	r.write(inside, string(content), 0o644)
}

func (r *root) write(inside, content string, mode fs.FileMode) {
	r.t.Helper()
	require.NoError(r.t, os.MkdirAll(filepath.Dir(r.path(inside)), 0o755))
	require.NoError(r.t, os.WriteFile(r.path(inside), []byte(content), mode))
}

func (r *root) read(inside string) string {
	r.t.Helper()
	content, err := os.ReadFile(r.path(inside))
	require.NoError(r.t, err)
	return string(content)
}

func (r *root) command(args ...string) *exec.Cmd {
	c := exec.Command("/usr/bin/env", args...)
	c.Dir = "/"
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	return c
}

// do runs a command in the root, and returns all that it prints.
func (r *root) do(args ...string) string {
	r.t.Helper()
	out, err := r.command(args...).CombinedOutput()
	require.NoError(r.t, err, "%v: %s", args, out)
	return string(out)
}

// files returns all files and directories, except those that are mounted.
func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		inside := strings.TrimPrefix(path, dir)
		if slices.Contains([]string{"/proc", "/sys", "/dev", "/tmp", "/run"}, inside) {
			return fs.SkipDir
		}
		list = append(list, inside)
		return err
	}))
	return list
}

// requireAsBefore fails if there are files that were not there in the beginning, except some, or if
// one is missing that was.
func (r *root) requireAsBefore(except ...string) {
	r.t.Helper()
	before, after := files(r.t, r.base), files(r.t, r.dir)
	known := map[string]bool{}
	for _, path := range before {
		known[path] = true
	}
	ignored := func(path string) bool {
		return slices.ContainsFunc(except, func(e string) bool { return path == e || strings.HasPrefix(path, e+"/") })
	}
	var more []string
	for _, path := range after {
		if !known[path] && !ignored(path) {
			more = append(more, path)
		}
		delete(known, path)
	}
	require.Empty(r.t, more, "it is still there")
	for path := range known {
		require.True(r.t, ignored(path), "%s is gone", path)
	}
}

// until waits for what nothing sends a notice of.
func (r *root) until(what string, holds func() bool) {
	r.t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(r.t, "too late", what)
		}
	}
}

// A daemon runs in a root.
type daemon struct {
	process *exec.Cmd
	log     bytes.Buffer
	ended   chan error
}

// start starts the daemon as its unit does, and returns when it answers.
func (r *root) start() *daemon {
	r.t.Helper()
	return r.startAs(execStart(r.t, r.read("/usr/lib/systemd/system/albatrossd.service"))...)
}

func (r *root) startAs(args ...string) *daemon {
	r.t.Helper()
	d := &daemon{process: r.command(args...), ended: make(chan error, 1)}
	d.process.Stdout, d.process.Stderr = &d.log, &d.log
	d.process.WaitDelay = time.Minute
	require.NoError(r.t, d.process.Start())
	gone := make(chan struct{})
	go func() { d.ended <- d.process.Wait(); close(gone) }()
	r.t.Cleanup(func() {
		_ = d.process.Process.Kill() // it may have ended
		<-gone
	})
	r.until("the daemon answers", func() bool {
		select {
		case <-gone:
			require.FailNow(r.t, "the daemon has ended", d.log.String())
		default:
		}
		return r.command("albatross-client", "info").Run() == nil
	})
	return d
}

// execStart returns the command line of a unit.
func execStart(t *testing.T, unit string) []string {
	t.Helper()
	for line := range strings.Lines(unit) {
		if command, found := strings.CutPrefix(line, "ExecStart="); found {
			return strings.Fields(command)
		}
	}
	require.FailNow(t, "the unit starts nothing")
	return nil
}

// stop stops the daemon as systemd does.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, d.process.Process.Signal(unix.SIGTERM))
	require.NoError(t, <-d.ended, d.log.String())
}

// processes returns those that run a program of the root.
func (r *root) processes(program string) (pids []string) {
	for _, pid := range netns.Started() {
		text := strconv.Itoa(pid)
		line, _ := os.ReadFile("/proc/" + text + "/cmdline")
		if first, _, _ := bytes.Cut(line, []byte{0}); string(first) == program {
			pids = append(pids, text)
		}
	}
	return pids
}

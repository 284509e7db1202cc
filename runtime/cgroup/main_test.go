package cgroup

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// The test binary runs itself again as the processes that are in the cgroups:
// the first argument says so.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		work()
	}
	if len(os.Args) > 3 && os.Args[1] == "container" {
		contained(os.Args[2], os.Args[3])
	}
	goleak.VerifyTestMain(m)
}

// work carries out its orders, a line each, and answers each with a line, until its standard input
// ends.
func work() {
	runtime.LockOSThread() // each thread has CPUs of its own
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		order, argument, _ := strings.Cut(in.Text(), " ")
		var n int
		_, _ = fmt.Sscan(argument, &n)
		switch order {
		case "here?":
			fmt.Println("here")
		case "use":
			fmt.Println(use(n))
		case "enter":
			fmt.Println(os.WriteFile(argument, []byte("0"), 0))
		case "where?":
			fmt.Println(where(argument))
		case "cpus?":
			fmt.Println(allowed())
		case "pin":
			var set unix.CPUSet
			set.Set(n)
			fmt.Println(unix.SchedSetaffinity(0, &set))
		}
	}
	os.Exit(0)
}

// where returns the cgroup of this thread in the hierarchy of a controller.
func where(controller string) string {
	text, _ := os.ReadFile("/proc/thread-self/cgroup") // without the file there is no cgroup
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if slices.Contains(strings.Split(parts[1], ","), controller) {
			return parts[2]
		}
	}
	return ""
}

// use takes n bytes, for good.
func use(n int) error {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	for i := 0; i < len(mem); i += 4096 {
		mem[i] = 1
	}
	return err
}

func allowed() string {
	status, err := os.ReadFile("/proc/thread-self/status")
	_, rest, _ := strings.Cut(string(status), "Cpus_allowed_list:\t")
	cpus, _, found := strings.Cut(rest, "\n")
	if !found {
		return fmt.Sprint("cannot find out: ", err)
	}
	return cpus
}

// A worker is a process that can be in a cgroup.
type worker struct {
	t   testing.TB
	cmd *exec.Cmd
	in  *os.File
	out *bufio.Reader
	pid int
}

func start(t testing.TB) *worker {
	t.Helper()
	w := &worker{t: t, cmd: exec.Command(os.Args[0], "worker")}
	w.cmd.Env = []string{"GORACE=atexit_sleep_ms=0"} // otherwise each takes a second to end
	inEnd, in, err := os.Pipe()
	require.NoError(t, err)
	out, outEnd, err := os.Pipe()
	require.NoError(t, err)
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = inEnd, outEnd, os.Stderr
	require.NoError(t, w.cmd.Start())
	require.NoError(t, errors.Join(inEnd.Close(), outEnd.Close()))
	w.in, w.out, w.pid = in, bufio.NewReader(out), w.cmd.Process.Pid
	t.Cleanup(func() {
		w.kill()
		w.reap()
		_, _ = in.Close(), out.Close()
	})
	require.Equal(t, "here", w.ask("here?"), "it has not started")
	return w
}

// ask gives the worker an order, and returns its answer, or "" if the worker has ended.
func (w *worker) ask(order string) string {
	_, err := fmt.Fprintln(w.in, order)
	require.NoError(w.t, err)
	line, _ := w.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n")
}

func (w *worker) kill() { _ = w.cmd.Process.Kill() }

// reap waits for the end of the worker, and returns the signal that ended it.
func (w *worker) reap() syscall.Signal {
	_ = w.cmd.Wait() // it may have been reaped before
	return w.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

// awaitZombie returns when the worker has ended. It is not reaped.
func (w *worker) awaitZombie() {
	w.t.Helper()
	require.NoError(w.t, unix.Waitid(unix.P_PID, w.pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
}

// group returns the cgroup of a process in the hierarchy of a branch, seen from the root.
func group(t testing.TB, b branch, process string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", process, "cgroup"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if b.v2 && parts[1] == "" || !b.v2 && slices.Contains(strings.Split(parts[1], ","), b.controllers[0]) {
			return parts[2]
		}
	}
	require.Fail(t, "no hierarchy", "of %v in %s", b, text)
	return ""
}

// usable returns the hierarchies of this machine. It skips a test if they cannot be changed.
func usable(t testing.TB) []mount {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make cgroups")
	}
	mounts, err := findMounts()
	require.NoError(t, err)
	for _, b := range choose(mounts, "") {
		err := errors.Join(unix.Access(b.root, unix.W_OK), b.enable(b.root))
		if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EBUSY) {
			t.Skipf("needs cgroups that can be changed: %v", err)
		}
		require.NoError(t, err)
	}
	if len(choose(mounts, "")) == 0 {
		t.Skip(errNone.Error())
	}
	return mounts
}

// newTree returns a tree of the test's own, which is removed with it.
func newTree(t testing.TB) *Tree {
	t.Helper()
	return newTreeIn(t, usable(t))
}

func newTreeIn(t testing.TB, mounts []mount) *Tree {
	t.Helper()
	tree, err := open(mounts, "albatross-test-"+rand.Text())
	require.NoError(t, err)
	t.Cleanup(func() { vacate(t, tree) })
	return tree
}

func vacate(t testing.TB, tree *Tree) {
	t.Helper()
	for _, b := range tree.branches {
		for _, name := range names(t, b) {
			require.NoError(t, tree.Remove(name))
		}
		require.NoError(t, os.Remove(b.parent))
	}
}

func names(t testing.TB, b branch) []messages.Name {
	t.Helper()
	all, err := b.names()
	require.NoError(t, err)
	return all
}

// branchOf returns the branch of a tree that has a controller. It skips a test if there is none.
func branchOf(t testing.TB, tree *Tree, controller string) branch {
	t.Helper()
	for _, b := range tree.branches {
		if slices.Contains(b.controllers, controller) {
			return b
		}
	}
	t.Skipf("needs the controller %s", controller)
	return branch{}
}

func parse(t testing.TB, s string) messages.Name {
	t.Helper()
	n, err := messages.ParseName(s)
	require.NoError(t, err)
	return n
}

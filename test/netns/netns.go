// Package netns is for tests that make network interfaces: it runs them in a
// network namespace of their own, and gives them bridges, and taps to exchange
// frames with others on a bridge.
//
// A test package enters it in its TestMain:
//
//	func TestMain(m *testing.M) {
//		netns.Enter()
//		os.Exit(m.Run())
//	}
//
// Whatever the tests start is in that namespace too. All interfaces in it
// vanish with the last process. The tests fail if they leave a process behind.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// outside is an environment variable with the namespace in which the tests were started. Processes
// that the tests start inherit it with the new one.
const outside = "ALBATROSS_TEST_OUTSIDE_NETNS"

// errNoNamespace is why the tests have no namespace.
var errNoNamespace = errors.New("internal error: TestMain has not called netns.Enter")

// Enter runs the test binary again in a network namespace of its own, and ends this process as that
// one ends. It returns in the new process. It also returns in this one if that is not possible;
// then the tests that need a namespace are skipped. It should be the first call of TestMain, since
// all calls before it happen twice. Only if the tests run their own program without its
// environment, TestMain must recognise that before.
func Enter() {
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		errNoNamespace = err
		return
	}
	if old := os.Getenv(outside); old == "" || old == here {
		errNoNamespace = reenter(here)
		return
	}
	errNoNamespace = prepare()
}

// Need skips a test if there is no namespace for it. The other functions of this package do so,
// too.
func Need(t testing.TB) {
	t.Helper()
	if errNoNamespace != nil {
		t.Skipf("there is no network namespace for tests: %v", errNoNamespace)
	}
}

// reenter returns only if the program could not be started again.
func reenter(here string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, os.Args[1:]...)
	c.Env = append(os.Environ(), outside+"="+here)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:    unix.SIGKILL, // when the thread that has started it ends
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setMark(); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if err := c.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "in a network namespace:", err)
	}
	code := c.ProcessState.ExitCode() // a signal is -1 and becomes 255
	if left := killLeft(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "the tests have left behind:\n%s\n", strings.Join(left, "\n"))
		code = max(code, 1)
	}
	unix.Exit(code) // os.Exit writes to standard error under coverage
	return nil
}

// prepare makes the namespace usable. The first process in it does that, and sets lo up at the end.
func prepare() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if lo.Attrs().RawFlags&unix.IFF_UP != 0 {
		return nil
	}
	if err := unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK); err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	if err := mountSys(); err != nil {
		return fmt.Errorf("cannot mount /sys: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// mountSys makes /sys show the interfaces of this namespace instead of those of the process that
// has mounted it. It hides what was mounted in /sys, except the control groups. Nobody outside sees
// the change.
func mountSys() error {
	const groups = "/sys/fs/cgroup"
	tree, err := unix.OpenTree(unix.AT_FDCWD, groups,
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(tree) }()
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, groups, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

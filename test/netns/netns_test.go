package netns_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/test/netns"
)

// inside is the environment variable that says what the test binary does instead of tests once it
// has entered a namespace.
const inside = "NETNS_TEST_INSIDE"

func TestMain(m *testing.M) {
	netns.Enter()
	switch os.Getenv(inside) {
	case "print":
		fmt.Print(namespace("self"))
		os.Exit(3)
	case "fail":
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	case "leave":
		c := exec.Command("sleep", "1000")
		c.SysProcAttr = &syscall.SysProcAttr{ // as tenders are
			Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
			Credential:   &syscall.Credential{Uid: 1879048193, Gid: 1879048193},
		}
		if err := c.Start(); err != nil {
			panic(err)
		}
		os.Exit(0)
	case "wait":
		fmt.Println("here")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func namespace(process string) string {
	name, err := os.Readlink("/proc/" + process + "/ns/net")
	if err != nil {
		panic(err)
	}
	return name
}

// again returns the test binary as a process starts it that is in the namespace of the tests, or,
// with enter, as one that has come from there to enter another one.
func again(t *testing.T, do string, enter bool, arguments ...string) *exec.Cmd {
	netns.Need(t)
	c := exec.CommandContext(t.Context(), os.Args[0], arguments...)
	c.Env = append(os.Environ(), inside+"="+do)
	if enter {
		c.Env = append(c.Env, "ALBATROSS_TEST_OUTSIDE_NETNS="+namespace("self"))
	}
	return c
}

func TestInside(t *testing.T) {
	netns.Need(t)
	netns.Bridge(t, "service")
	parent := fmt.Sprint(os.Getppid())
	require.NotEqual(t, namespace(parent), namespace("self"))
	require.DirExists(t, "/sys/class/net/service/bridge")
	require.NoDirExists(t, filepath.Join("/proc", parent, "root/sys/class/net/service"))

	listener, err := net.Listen("tcp", "127.0.0.1:0") // needs lo
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	c, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestControlGroupsAreThoseOfOutside(t *testing.T) {
	netns.Need(t)
	const groups = "/sys/fs/cgroup"
	outside := fmt.Sprintf("/proc/%d/root%s", os.Getppid(), groups)
	require.Equal(t, list(t, outside), list(t, groups))
	if sub := list(t, groups); len(sub) > 0 {
		require.Equal(t, list(t, filepath.Join(outside, sub[0])), list(t, filepath.Join(groups, sub[0])))
	}
}

// list returns the names in a directory, and none if it is not one.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !strings.Contains(err.Error(), "not a directory") {
		require.NoError(t, err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestChildrenStayInside(t *testing.T) {
	out, err := again(t, "print", false).Output()
	require.Equal(t, 3, err.(*exec.ExitError).ExitCode())
	require.Equal(t, namespace("self"), string(out))
	out, err = again(t, "", false, "-test.run=^TestPorts$", "-test.v").Output()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestPorts ")
}

func TestEnterEndsLikeTheTests(t *testing.T) {
	out, err := again(t, "print", true).Output()
	require.Equal(t, 3, err.(*exec.ExitError).ExitCode())
	require.NotEqual(t, namespace("self"), string(out), "it is in a namespace of its own")

	var said bytes.Buffer
	c := again(t, "fail", true)
	c.Stderr = &said
	require.EqualError(t, c.Run(), "exit status 255")
	require.Equal(t, "in a network namespace: signal: killed\n", said.String())
}

func TestProcessesThatAreLeftBehind(t *testing.T) {
	var said bytes.Buffer
	c := again(t, "leave", true)
	c.Stderr = &said
	require.EqualError(t, c.Run(), "exit status 1")
	require.Regexp(t, `^the tests have left behind:\n\d+ sleep 1000 \n$`, said.String())
	pid := strings.Fields(said.String())[5]
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		return err != nil || len(status) == 0 // the process that has inherited it may have to reap it
	}, time.Minute, time.Millisecond, "it has been killed")
}

// The tests of a test process that was killed end by themselves.
func TestTheTestsEndWithWhoeverHasStartedThem(t *testing.T) {
	c := again(t, "wait", true)
	_, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line := make([]byte, len("here\n"))
	_, err = io.ReadFull(out, line)
	require.NoError(t, c.Process.Kill())
	require.NoError(t, err)
	require.NoError(t, out.(*os.File).SetReadDeadline(time.Now().Add(30*time.Second)))
	rest, err := io.ReadAll(out) // ends when no process has the pipe any more
	require.NoError(t, err)
	require.Empty(t, rest)
	require.EqualError(t, c.Wait(), "signal: killed")
}

func TestWhoMayNotIsSkipped(t *testing.T) {
	c := again(t, "", true, "-test.run=^TestPorts$", "-test.v")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	program, err := os.Open(c.Path) // it is in a directory that others may not read
	require.NoError(t, err)
	defer func() { _ = program.Close() }()
	c.Path, c.ExtraFiles = "/proc/self/fd/3", []*os.File{program}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "there is no network namespace for tests: ")
	require.Contains(t, string(out), "operation not permitted")
	require.Contains(t, string(out), "--- SKIP: TestPorts ")
}

package inject_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/test/inject"
)

func TestMain(m *testing.M) {
	inject.MayBecomeProgram()
	if len(os.Args) == 3 && os.Args[1] == "probe" {
		os.Exit(probe(os.Args[2]))
	}
	os.Exit(m.Run())
}

// probe makes calls of every kind, and prints those that fail.
func probe(dir string) int {
	try := func(call inject.Call, err error) {
		var errno unix.Errno
		if errors.As(err, &errno) {
			fmt.Print(call, " ", unix.ErrnoName(errno), "\n")
		} else if err != nil {
			fmt.Print(call, " ", err, "\n")
		}
	}
	there, err := os.OpenFile(filepath.Join(dir, "there"), os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	made, err := os.Create(filepath.Join(dir, "made"))
	try(inject.Create, err)
	_ = made.Close() // nil if it was not made
	_, err = there.WriteAt([]byte("x"), 1)
	try(inject.Write, err)
	try(inject.Sync, there.Sync())
	try(inject.Rename, os.Rename(there.Name(), there.Name()))
	try(inject.Resize, there.Truncate(100))
	try(inject.Mkdir, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	_, err = net.Dial("unix", filepath.Join(dir, "listening"))
	try(inject.Socket, err)
	_, err = netlink.LinkByName("lo")
	try(inject.Netlink, err)
	try(inject.Exec, exec.Command("/bin/true").Run())
	return 0
}

// run returns what a probe prints.
func run(t *testing.T, f *inject.Faults) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "listening"))
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "there"), nil, 0o600))
	c := exec.CommandContext(t.Context(), os.Args[0], "probe", dir)
	out, err := os.Create(filepath.Join(dir, "out"))
	require.NoError(t, err)
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	started, err := f.Into(c)
	require.NoError(t, err)
	require.NoError(t, c.Start())
	require.NoError(t, started())
	waited := c.Wait()
	require.Empty(t, f.Wait())
	text, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.NoError(t, waited, "%s", text)
	return string(text)
}

func TestCallsFail(t *testing.T) {
	for _, call := range []inject.Call{
		inject.Create, inject.Write, inject.Sync, inject.Rename, inject.Resize, inject.Mkdir, inject.Socket, inject.Netlink,
	} {
		t.Run(string(call), func(t *testing.T) {
			f := inject.New(1)
			f.Set(inject.Fault{Call: call, Program: "inject.test", Errno: unix.EIO, Probability: 1})
			require.Contains(t, run(t, f), string(call)+" EIO\n")
			require.Positive(t, f.Injected()[string(call)+" fails with EIO"])
		})
	}
}

// TestExecFails: the first is that of the program itself.
func TestExecFails(t *testing.T) {
	f := inject.New(1)
	f.Set(inject.Fault{Call: inject.Exec, Errno: unix.EAGAIN, Probability: 1})
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Args[0], "probe", dir)
	started, err := f.Into(c)
	require.NoError(t, err)
	require.NoError(t, c.Start())
	require.NoError(t, started())
	require.Error(t, c.Wait())
	require.Empty(t, f.Wait())
	require.Equal(t, map[string]int{"exec fails with EAGAIN": 1}, f.Injected())
}

func TestOnlyAPathFails(t *testing.T) {
	f := inject.New(1)
	f.Set(inject.Fault{Call: inject.Create, Path: "/mad", Errno: unix.EIO, Probability: 1}, inject.Fault{Call: inject.Mkdir, Path: "/di", Errno: unix.EIO, Probability: 1})
	require.Equal(t, "create EIO\nmkdir EIO\n", run(t, f))
}

func TestNothingFails(t *testing.T) {
	f := inject.New(1)
	f.Set(
		inject.Fault{Call: inject.Sync, Program: "other", Errno: unix.EIO, Probability: 1},
		inject.Fault{Call: inject.Rename, Errno: unix.EIO},
		inject.Fault{Call: inject.Write, Delay: 10 * time.Millisecond, Probability: 1},
	)
	require.Empty(t, run(t, f))
	require.Equal(t, map[string]int{"write takes 10ms": 1}, f.Injected())
}

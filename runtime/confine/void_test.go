package confine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inside prints what a process finds that has entered a void, which the test has passed on.
func inside() {
	before := namespaces()
	must(Order{Void: 3}.EnterAlone())
	_, err := os.Stat("/proc")
	fmt.Println("proc:", err)
	entries, err := os.ReadDir("/")
	fmt.Println("entries:", len(entries), err)
	dir, err := os.Getwd()
	fmt.Println("directory:", dir, err)
	fmt.Println("make:", os.WriteFile("/new", nil, 0o600))
	interfaces, err := net.Interfaces()
	must(err)
	for _, i := range interfaces {
		fmt.Println("interface:", i.Name, i.Flags&net.FlagUp != 0)
	}
	_, err = unix.FcntlInt(3, unix.F_GETFD, 0)
	fmt.Println("descriptor:", err)
	fmt.Println("before:", before)
}

// namespaces are those of this thread that a void replaces.
func namespaces() string {
	mounts, err := os.Readlink("/proc/thread-self/ns/mnt")
	must(err)
	network, err := os.Readlink("/proc/thread-self/ns/net")
	must(err)
	return mounts + network
}

func newVoid(t *testing.T) *Void {
	t.Helper()
	v, err := NewVoid(t.TempDir())
	if err != nil && strings.Contains(err.Error(), " is missing") {
		t.Skip("only root makes namespaces: ", err)
	}
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

// TestNothingIsInAVoid: no file, nothing that could be changed, and no network.
func TestNothingIsInAVoid(t *testing.T) {
	c := exec.Command("/proc/self/exe", "inside", "")
	c.ExtraFiles = newVoid(t).Files()
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, []string{
		"proc: stat /proc: no such file or directory", "entries: 0 <nil>", "directory: / <nil>",
		"make: open /new: read-only file system", "interface: lo false", "descriptor: bad file descriptor",
		"before: " + namespaces(),
	}, strings.Split(strings.TrimSpace(string(out)), "\n"))
}

// outside makes voids, and fails if that changes the mounts of this process, which is in a mount
// namespace of its own. They are shared, as those of most machines.
func outside(dir string) {
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
	before, err := os.ReadFile("/proc/self/mountinfo")
	must(err)
	ours := namespaces()
	for range 10 {
		v, err := NewVoid(dir)
		must(err)
		v.Close()
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	must(err)
	fmt.Println("mounts:", string(before) == string(after), strings.Contains(string(before), " shared:"))
	fmt.Println("namespaces:", ours == namespaces())
}

// TestAVoidChangesNothingOfTheMachine, nor of the process that makes it.
func TestAVoidChangesNothingOfTheMachine(t *testing.T) {
	newVoid(t) // or it is skipped
	c := exec.Command("/proc/self/exe", "outside", t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "mounts: true true\nnamespaces: true\n", string(out))
}

// TestAThreadOfItsOwn ends with the function, and is not the first one.
func TestAThreadOfItsOwn(t *testing.T) {
	var hold [4]chan struct{}
	for i := range hold { // goroutines that leave the first thread idle, or not
		hold[i] = make(chan struct{})
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			<-hold[i]
		}()
	}
	for range 100 {
		thread := 0
		onThreadOfItsOwn(func() { thread = unix.Gettid() })
		require.NotZero(t, thread)
		require.NotEqual(t, os.Getpid(), thread)
	}
	for _, h := range hold {
		close(h)
	}
}

// TestNoVoidWithoutAnEmptyDirectory: what cannot be made leaves nothing open.
func TestNoVoidWithoutAnEmptyDirectory(t *testing.T) {
	newVoid(t)
	open := descriptors(t)
	_, err := NewVoid(t.TempDir() + "/missing")
	require.EqualError(t, err, "cannot leave the mounts of the machine: no such file or directory")
	require.Equal(t, open, descriptors(t))
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// BenchmarkVoid compares what a tender takes to enter a void with what it would take to make one
// of its own. What the kernel takes to end that comes on top, later.
func BenchmarkVoid(b *testing.B) {
	dir := b.TempDir()
	shared, err := NewVoid(dir)
	require.NoError(b, err)
	defer shared.Close()
	b.Run("enter", func(b *testing.B) {
		for b.Loop() {
			onThreadOfItsOwn(func() {
				require.NoError(b, thisThread(unix.SYS_UNSHARE, unix.CLONE_FS, 0, 0))
				require.NoError(b, unix.Setns(int(shared.mounts.Fd()), unix.CLONE_NEWNS))
				require.NoError(b, unix.Setns(int(shared.network.Fd()), unix.CLONE_NEWNET))
			})
		}
	})
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			onThreadOfItsOwn(func() {
				var own Void
				require.NoError(b, own.make(dir))
				own.Close()
			})
		}
	})
	b.Run("nothing", func(b *testing.B) {
		for b.Loop() {
			onThreadOfItsOwn(func() {})
		}
	})
}

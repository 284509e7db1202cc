package hvt

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/landlock"
)

// escape is a tender with --dumpcore, confined as for a guest, that has been taken over. Its
// filter must let it make core files, and cannot see where. It exits with 0 if it has made one
// where it should, and none elsewhere.
func escape(dir string) {
	runtime.LockOSThread()
	cpu, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Exit(10)
	}
	core, err := openCore(dir)
	if err != nil {
		unix.Exit(11)
	}
	g := &Guest{machine: machine{cpu: cpu}, core: core}
	make := func(path *byte) syscall.Errno {
		_, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(core.directory), uintptr(unsafe.Pointer(path)), coreFlags, 0o600, 0, 0)
		return errno
	}
	inside, _ := unix.BytePtrFromString("inside")
	outside, _ := unix.BytePtrFromString("../outside")
	if g.confine() != nil {
		unix.Exit(12)
	}
	status := 0
	if make(inside) != 0 {
		status |= 1
	}
	if make(outside) != unix.EACCES {
		status |= 2
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(status), 0, 0)
}

// TestCoreFilesAreMadeInTheirDirectory, whatever the path is that a tender asks for.
func TestCoreFilesAreMadeInTheirDirectory(t *testing.T) {
	if landlock.Version() == 0 {
		t.Skip("this kernel has no Landlock, or it is off")
	}
	dir := filepath.Join(t.TempDir(), "cores")
	require.NoError(t, os.Mkdir(dir, 0o700))
	c := exec.Command(withoutC(t), "escape", dir)
	c.Env = append(os.Environ(), "GODEBUG=containermaxprocs=0,updatemaxprocs=0") // as the directives in albatross-tender
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	require.FileExists(t, filepath.Join(dir, "inside"))
	require.NoFileExists(t, filepath.Join(filepath.Dir(dir), "outside"))
}

// startThreads is a tender whose runtime starts threads after it is confined, as it may at any time,
// and ends them.
func startThreads() {
	cpu, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Exit(10)
	}
	g := &Guest{machine: machine{cpu: cpu}, core: noCore}
	if g.confine() != nil {
		unix.Exit(11)
	}
	const threads = 50
	var here, all sync.WaitGroup
	here.Add(threads)
	for range threads {
		all.Go(func() {
			runtime.LockOSThread() // for ever: it ends with the goroutine
			here.Done()
			here.Wait()
		})
	}
	all.Wait()
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
}

// TestThreadsStartWhenConfined: what the filter forbids would end the tender, and its unikernel.
func TestThreadsStartWhenConfined(t *testing.T) {
	program := withoutC(t)
	for range 20 {
		c := exec.Command(program, "threads")
		c.Env = append(os.Environ(), "GODEBUG=containermaxprocs=0,updatemaxprocs=0") // as the directives in albatross-tender
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

// withoutC returns the path of this program, built without C, as a tender is: the library of C
// starts threads in another way.
func withoutC(t *testing.T) string {
	t.Helper()
	info, _ := debug.ReadBuildInfo() // every program that Go builds has it
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "0"}) {
		return "/proc/self/exe"
	}
	path := filepath.Join(t.TempDir(), "hvt.test")
	build := exec.Command("go", "test", "-c", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

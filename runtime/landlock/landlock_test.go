package landlock_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/runtime/landlock"
)

// The test binary runs itself again as a process that restricts itself: the first argument
// says how, the second is a directory.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		if attempt, ok := attempts[os.Args[1]]; ok {
			runtime.LockOSThread()
			attempt(os.Args[2])
			unix.Exit(0) // without a report of coverage, which is a file
		}
	}
	goleak.VerifyTestMain(m)
}

var attempts = map[string]func(dir string){
	"everything": everything,
	"threads":    threads,
	"making":     making,
	"a file":     aFile,
	"others":     others,
}

// run returns what an attempt prints, a line for each thing that it has tried.
func run(t *testing.T, attempt, dir string) []string {
	t.Helper()
	return runProgram(t, "/proc/self/exe", attempt, dir)
}

func runProgram(t *testing.T, program, attempt, dir string) []string {
	t.Helper()
	if landlock.Version() == 0 {
		t.Skip("this kernel has no Landlock, or it is off: the tests in the virtual machine (make vm-test) have it")
	}
	c := exec.Command(program, attempt, dir)
	c.Env = []string{"GORACE=atexit_sleep_ms=0"}
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func report(what string, err error) {
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		err = errors.New("refused")
	}
	fmt.Println(what, err)
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		unix.Exit(1)
	}
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func everything(dir string) {
	fd, err := unix.Open(filepath.Join(dir, "file"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(err)
	must(landlock.Restrict(0))
	_, err = unix.Pwrite(fd, []byte("x"), 0)
	report("write to what is open", err)
	report("read", open(filepath.Join(dir, "file"), unix.O_RDONLY))
	report("write", open(filepath.Join(dir, "file"), unix.O_WRONLY))
	report("make", open(filepath.Join(dir, "new"), unix.O_WRONLY|unix.O_CREAT))
	report("list", open(dir, unix.O_RDONLY|unix.O_DIRECTORY))
	report("remove", unix.Unlink(filepath.Join(dir, "file")))
	report("rename", unix.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "other")))
	report("execute", exec.Command("/bin/true").Run())
}

func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600))
	return dir
}

// TestNothingIsLeftOfTheFileSystem but what is open.
func TestNothingIsLeftOfTheFileSystem(t *testing.T) {
	require.Equal(t, []string{
		"write to what is open <nil>", "read refused", "write refused", "make refused", "list refused",
		"remove refused", "rename refused", "execute refused",
	}, run(t, "everything", directory(t)))
}

// threads tries on many threads, most of which there were before.
func threads(dir string) {
	const count = 8
	var ready, tried sync.WaitGroup
	ready.Add(count)
	restricted := make(chan struct{})
	for range count {
		tried.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			<-restricted
			report("read", open(filepath.Join(dir, "file"), unix.O_RDONLY))
		})
	}
	ready.Wait()
	must(landlock.Restrict(0))
	close(restricted)
	tried.Wait()
}

// TestAllThreadsAreRestricted, in a program without cgo, as tenders are.
func TestAllThreadsAreRestricted(t *testing.T) {
	for _, line := range runProgram(t, withoutCgo(t), "threads", directory(t)) {
		require.Equal(t, "read refused", line)
	}
}

// withoutCgo returns a program that is these tests without cgo.
func withoutCgo(t *testing.T) string {
	t.Helper()
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno == 0 {
		return "/proc/self/exe"
	}
	program := filepath.Join(t.TempDir(), "landlock.test")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

func making(dir string) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(err)
	must(landlock.Restrict(0, landlock.Rule{File: fd, Allow: landlock.Make}))
	report("make", open(filepath.Join(dir, "new"), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL))
	report("read", open(filepath.Join(dir, "file"), unix.O_RDONLY))
	report("remove", unix.Unlink(filepath.Join(dir, "file")))
	report("make elsewhere", open(filepath.Join(filepath.Dir(dir), "new"), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL))
}

// TestOnlyNewFilesInADirectory are what a core file needs.
func TestOnlyNewFilesInADirectory(t *testing.T) {
	require.Equal(t, []string{"make <nil>", "read refused", "remove refused", "make elsewhere refused"},
		run(t, "making", directory(t)))
}

func aFile(dir string) {
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	must(landlock.RestrictThread(landlock.Network,
		landlock.Rule{Path: filepath.Join(dir, "file"), Allow: landlock.Write | landlock.List | landlock.Make},
		landlock.Rule{Path: filepath.Join(dir, "missing"), Allow: landlock.Read}))
	report("write", open(filepath.Join(dir, "file"), unix.O_RDWR))
	report("make", open(filepath.Join(dir, "missing"), unix.O_WRONLY|unix.O_CREAT))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	report("listen", unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	report("connect", unix.Connect(fd, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}}))
}

// TestAFileAndNoTCP: a rule for a file allows that file.
func TestAFileAndNoTCP(t *testing.T) {
	lines := run(t, "a file", directory(t))
	require.Equal(t, []string{"write <nil>", "make refused"}, lines[:2])
	if landlock.Version() < 4 {
		t.Skip("this version of Landlock knows no network")
	}
	require.Equal(t, []string{"listen refused", "connect refused"}, lines[2:])
}

func others(string) {
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	must(landlock.RestrictThread(landlock.Others))
	report("signal", unix.Kill(os.Getppid(), 0))
}

// TestNoSignalLeaves: not even to a process of the same user.
func TestNoSignalLeaves(t *testing.T) {
	lines := run(t, "others", "")
	if landlock.Version() < 6 {
		t.Skip("this version of Landlock knows no signals")
	}
	require.Equal(t, []string{"signal refused"}, lines)
}

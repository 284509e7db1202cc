package fifo_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/proc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func created(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ":hello")
	require.NoError(t, fifo.Create(path))
	return path
}

func writer(t *testing.T, path string) *os.File {
	t.Helper()
	return opened(t, path, fifo.OpenWriter)
}

func opened(t *testing.T, path string, open func(string) (*os.File, error)) *os.File {
	t.Helper()
	f, err := open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestPathIsAFileInTheDirectory(t *testing.T) {
	for name, file := range map[string]string{
		"hello": ":hello", "a:b": "a:b", ".": ":.", "..": ":..", "..:..": "..:..", ".:a": ".:a", ":": ":",
	} {
		n, err := messages.ParseName(name)
		require.NoError(t, err)
		require.Equal(t, "/run/fifo/"+file, fifo.Path("/run/fifo", n))
	}
}

func TestCreateIsPrivateWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		path := filepath.Join(t.TempDir(), "f")
		old := unix.Umask(umask)
		err := fifo.Create(path)
		unix.Umask(old)
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, os.ModeNamedPipe|0o600, info.Mode())
	}
}

// TestUnname: both ends are of one pipe, which nobody can open any more, and whose former
// name the kernel shows.
func TestUnname(t *testing.T) {
	path := created(t)
	output, console, err := fifo.Unname(path)
	require.NoError(t, err)
	defer func() { _ = output.Close() }()
	defer func() { _ = console.Close() }()
	require.NoFileExists(t, path)
	_, err = output.WriteString("hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(console).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	shown, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", output.Fd()))
	require.NoError(t, err)
	require.Equal(t, path+" (deleted)", shown)
	_, _, err = fifo.Unname(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCreateKeepsAPipeAndWhatIsInIt(t *testing.T) {
	path := created(t)
	_, err := writer(t, path).WriteString("still here\n")
	require.NoError(t, err)
	require.NoError(t, fifo.Create(path))
	line, err := bufio.NewReader(writer(t, path)).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "still here\n", line)
}

func TestCreateInNoDirectory(t *testing.T) {
	err := fifo.Create(filepath.Join(t.TempDir(), "none", "f"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "cannot create console ")
}

// Nothing but a pipe is touched, least of all what a link points to.
func TestAnythingElseIsRefused(t *testing.T) {
	pipe := created(t)
	makes := map[string]func(path string) error{
		"file":         func(p string) error { return os.WriteFile(p, []byte("mine"), 0o600) },
		"directory":    func(p string) error { return os.Mkdir(p, 0o700) },
		"link to pipe": func(p string) error { return os.Symlink(pipe, p) },
		"loose link":   func(p string) error { return os.Symlink("nowhere", p) },
		"socket":       func(p string) error { return bindSocket(p) },
	}
	for name, create := range makes {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			require.NoError(t, create(path))
			before, err := os.Lstat(path)
			require.NoError(t, err)

			require.ErrorContains(t, fifo.Create(path), "not a named pipe")
			_, err = fifo.OpenForeign(path)
			require.ErrorContains(t, err, "not a named pipe")
			_, err = fifo.OpenWriter(path)
			require.ErrorContains(t, err, "not a named pipe")
			require.ErrorContains(t, fifo.Remove(path), "not a named pipe")

			after, err := os.Lstat(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}

func bindSocket(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
}

func TestOpenOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	_, err := fifo.OpenForeign(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = fifo.OpenWriter(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestEndsBlock(t *testing.T) {
	path := created(t)
	for mode, open := range map[int]func(string) (*os.File, error){unix.O_RDWR: fifo.OpenWriter, unix.O_RDONLY: fifo.OpenForeign} {
		fd := opened(t, path, open).Fd()
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Equal(t, mode, flags&(unix.O_ACCMODE|unix.O_NONBLOCK))
		closes, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
		require.NoError(t, err)
		require.Equal(t, unix.FD_CLOEXEC, closes)
	}
}

// What another daemon runs ends, and its console with it.
func TestAForeignConsoleHasAnEnd(t *testing.T) {
	path := created(t)
	r := opened(t, path, fifo.OpenForeign)
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = w.WriteString("last words")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "last words", string(all))
}

// contents is what is in a pipe now.
func contents(t *testing.T, f *os.File) string {
	t.Helper()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	require.NoError(t, err)
	all := make([]byte, n)
	_, err = io.ReadFull(f, all)
	require.NoError(t, err)
	return string(all)
}

// A program that writes into the pipe lives on without a reader, and nothing of
// what fits is lost.
func TestWriterSurvivesTheReader(t *testing.T) {
	path := created(t)
	r := writer(t, path)
	cmd := exec.Command("sh", "-c", "read go; echo one; echo two >&2; echo written >&3; read end || true")
	w := writer(t, path)
	cmd.Stdout, cmd.Stderr = w, w
	written, tell, err := os.Pipe()
	require.NoError(t, err)
	cmd.ExtraFiles = []*os.File{tell}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	require.NoError(t, tell.Close())
	require.NoError(t, r.Close())
	_, err = fmt.Fprintln(in, "go")
	require.NoError(t, err)
	_, err = io.ReadFull(written, make([]byte, len("written\n")))
	require.NoError(t, err)
	require.NoError(t, written.Close())

	// The program keeps the pipe's contents only while it lives, so that a new
	// reader is there before it ends.
	next := writer(t, path)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	require.Equal(t, "one\ntwo\n", contents(t, next))
}

// allowed is how large the machine lets a pipe be, in bytes.
func allowed(t *testing.T) int {
	text, err := os.ReadFile("/proc/sys/fs/pipe-max-size")
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return n
}

func sizeOf(t *testing.T, f *os.File) int {
	t.Helper()
	size, err := unix.FcntlInt(f.Fd(), unix.F_GETPIPE_SZ, 0)
	require.NoError(t, err)
	return size
}

func TestPipeIsAsLargeAsTheMachineAllows(t *testing.T) {
	path := created(t)
	r, w := writer(t, path), writer(t, path)
	most := allowed(t)
	if sizeOf(t, w) < most {
		t.Skip("this user has many large pipes already")
	}
	text := strings.Repeat("0123456789abcde\n", most/16)
	_, err := w.WriteString(text) // does not block
	require.NoError(t, err)
	require.Equal(t, text, contents(t, r))
}

func TestALargerPipeStaysAsItIs(t *testing.T) {
	path := created(t)
	f := writer(t, path)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, 2*allowed(t)); err != nil {
		t.Skip("needs root for a pipe that is larger than usual: ", err)
	}
	require.GreaterOrEqual(t, sizeOf(t, writer(t, path)), 2*allowed(t))
}

// An ordinary user who has many pipes gets what is left: the pages of all pipes of a
// user are counted.
func TestAUserWithManyPipes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user, who has no other pipes")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAnOrdinaryUser$", "-test.v")
	cmd.Env = []string{"FIFO_DIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(1<<30 + os.Getpid()), Gid: 54321}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "SKIP")
	t.Logf("%s", out)
}

// TestAnOrdinaryUser is the other half of TestAUserWithManyPipes.
func TestAnOrdinaryUser(t *testing.T) {
	dir := os.Getenv("FIFO_DIR")
	if dir == "" {
		t.Skip("runs below TestAUserWithManyPipes")
	}
	r, w, err := os.Pipe() // so that not all are large of those that fit
	require.NoError(t, err)
	defer func() { _, _ = r.Close(), w.Close() }()
	most, usual, halved := allowed(t), sizeOf(t, w), false
	for i := range 1000 {
		path := filepath.Join(dir, fmt.Sprintf(":%d", i))
		require.NoError(t, fifo.Create(path))
		size := sizeOf(t, writer(t, path))
		halved = halved || size > usual && size < most
		if size < usual { // there is nothing left
			require.True(t, halved)
			return
		}
	}
	t.Skip("the machine has no limit for the pipes of a user")
}

// The output of a process can be read whatever becomes of its name.
func TestOutputOfAProcess(t *testing.T) {
	path := created(t)
	w := writer(t, path)
	cmd := exec.Command("sh", "-c", "echo one; exec sleep 1000")
	cmd.Stdout = w
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	p, err := proc.Identify(cmd.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.RemoveAll(filepath.Dir(path)))

	r, err := fifo.OpenOutput(p)
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "one\n", line)
	flags, err := unix.FcntlInt(r.Fd(), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Equal(t, unix.O_RDWR, flags&(unix.O_ACCMODE|unix.O_NONBLOCK))

	other := p
	other.StartTime++
	_, err = fifo.OpenOutput(other)
	require.ErrorIs(t, err, proc.ErrGone, "somebody else has the pid now")
	require.NoError(t, cmd.Process.Kill())
	waiting := unix.Siginfo{}
	require.NoError(t, unix.Waitid(unix.P_PID, p.PID, &waiting, unix.WEXITED|unix.WNOWAIT, nil))
	_, err = fifo.OpenOutput(p)
	require.ErrorIs(t, err, proc.ErrGone, "it has ended, and nobody has reaped it")
	_ = cmd.Wait()
	_, err = fifo.OpenOutput(p)
	require.ErrorIs(t, err, proc.ErrGone)
}

func TestOutputThatIsNoPipe(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	p, err := proc.Identify(cmd.Process.Pid)
	require.NoError(t, err)
	_, err = fifo.OpenOutput(p)
	require.ErrorContains(t, err, "not a named pipe")
}

func TestRemove(t *testing.T) {
	path := created(t)
	require.NoError(t, fifo.Remove(path))
	_, err := os.Lstat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, fifo.Remove(path), "again")
	require.NoError(t, fifo.Remove(filepath.Join(path, "below", "nothing")))
}

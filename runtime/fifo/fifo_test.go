package fifo_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
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

	"albatross/messages"
	"albatross/runtime/fifo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func created(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ":hello")
	require.NoError(t, fifo.Create(path, -1))
	return path
}

func reader(t *testing.T, path string) *os.File {
	t.Helper()
	return end(t, path, fifo.OpenReader)
}

func writer(t *testing.T, path string) *os.File {
	t.Helper()
	return end(t, path, fifo.OpenWriter)
}

func end(t *testing.T, path string, open func(string) (*os.File, error)) *os.File {
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
		err := fifo.Create(path, -1)
		unix.Umask(old)
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, os.ModeNamedPipe|0o640, info.Mode())
	}
}

func TestCreateGivesThePipeToTheGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file to another group")
	}
	const gid = 12345
	path := filepath.Join(t.TempDir(), ":hello")
	require.NoError(t, fifo.Create(path, gid))
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, uint32(gid), info.Sys().(*syscall.Stat_t).Gid)
	require.Equal(t, os.ModeNamedPipe|fifo.Mode, info.Mode())
}

func TestCreateKeepsAPipeAndWhatIsInIt(t *testing.T) {
	path := created(t)
	_, err := writer(t, path).WriteString("still here\n")
	require.NoError(t, err)
	require.NoError(t, fifo.Create(path, -1))
	line, err := bufio.NewReader(reader(t, path)).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "still here\n", line)
}

func TestCreateInNoDirectory(t *testing.T) {
	err := fifo.Create(filepath.Join(t.TempDir(), "none", "f"), -1)
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

			require.ErrorContains(t, fifo.Create(path, -1), "not a named pipe")
			_, err = fifo.OpenReader(path)
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
	_, err := fifo.OpenReader(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = fifo.OpenWriter(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestReaderWaitsWithADeadline(t *testing.T) {
	r := reader(t, created(t))
	require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err := r.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestReaderSeesNoEndOfFile(t *testing.T) {
	path := created(t)
	r, w := reader(t, path), writer(t, path)
	_, err := w.WriteString("x")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	n, err := r.Read(make([]byte, 2))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestWriterBlocksAndReaderDoesNot(t *testing.T) {
	path := created(t)
	r, w := reader(t, path), writer(t, path)
	require.NotZero(t, flags(t, r)&unix.O_NONBLOCK)
	require.Zero(t, flags(t, w)&unix.O_NONBLOCK)
	for _, f := range []*os.File{r, w} {
		require.Equal(t, unix.O_RDWR, flags(t, f)&unix.O_ACCMODE)
		closes, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.Equal(t, unix.FD_CLOEXEC, closes)
	}
}

func flags(t *testing.T, f *os.File) int {
	t.Helper()
	conn, err := f.SyscallConn()
	require.NoError(t, err)
	var got int
	require.NoError(t, conn.Control(func(fd uintptr) { got, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }))
	require.NoError(t, err)
	return got
}

// A program that writes into the pipe lives on without a reader, and nothing of
// what fits is lost.
func TestWriterSurvivesTheReader(t *testing.T) {
	path := created(t)
	r := reader(t, path)
	cmd := exec.Command("sh", "-c", "read go; echo one; echo two >&2")
	w := writer(t, path)
	cmd.Stdout, cmd.Stderr = w, w
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	require.NoError(t, r.Close())
	_, err = fmt.Fprintln(in, "go")
	require.NoError(t, err)

	// The program keeps the pipe's contents only while it lives, so that a new
	// reader is there before it ends.
	next := reader(t, path)
	require.NoError(t, cmd.Wait())
	var got bytes.Buffer
	require.NoError(t, fifo.Drain(next, &got))
	require.Equal(t, "one\ntwo\n", got.String())
}

func TestPipeHoldsItsSize(t *testing.T) {
	path := created(t)
	r, w := reader(t, path), writer(t, path)
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	require.NoError(t, err)
	if size < fifo.Size {
		t.Skipf("this user may have pipes of %d bytes only", size)
	}
	text := strings.Repeat("0123456789abcde\n", fifo.Size/16)
	_, err = w.WriteString(text) // does not block
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, fifo.Drain(r, &got))
	require.Equal(t, text, got.String())
}

func TestDrainWorksAfterADeadlineAndDoesNotWait(t *testing.T) {
	path := created(t)
	r, w := reader(t, path), writer(t, path)
	require.NoError(t, r.SetReadDeadline(time.Unix(1, 0)))
	_, err := w.WriteString("last words")
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, fifo.Drain(r, &got))
	require.NoError(t, fifo.Drain(r, &got))
	require.Equal(t, "last words", got.String())
}

func TestDrainEndsThoughSomebodyKeepsWriting(t *testing.T) {
	path := created(t)
	r, w := reader(t, path), writer(t, path)
	text := strings.Repeat("x", 64<<10)
	require.NoError(t, fifo.Drain(r, io.Discard))
	_, err := w.WriteString(text)
	require.NoError(t, err)
	refill := &refilling{pipe: w, text: text}
	require.NoError(t, fifo.Drain(r, refill))
	require.Less(t, refill.writes, 2*fifo.Size/len(text)+1)
}

// refilling puts back into the pipe what was drained from it.
type refilling struct {
	pipe   *os.File
	text   string
	writes int
}

func (r *refilling) Write(p []byte) (int, error) {
	r.writes++
	if r.writes > 1000 {
		return 0, fmt.Errorf("drained %d times", r.writes)
	}
	return r.pipe.WriteString(r.text[:len(p)])
}

func TestDrainTellsErrors(t *testing.T) {
	path := created(t)
	r, w := reader(t, path), writer(t, path)
	_, err := w.WriteString("x")
	require.NoError(t, err)
	full, out := io.Pipe()
	require.NoError(t, full.Close())
	require.ErrorIs(t, fifo.Drain(r, out), io.ErrClosedPipe)
	require.NoError(t, r.Close())
	require.ErrorContains(t, fifo.Drain(r, io.Discard), "cannot read console ")
}

func TestRemove(t *testing.T) {
	path := created(t)
	require.NoError(t, fifo.Remove(path))
	_, err := os.Lstat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, fifo.Remove(path), "again")
	require.NoError(t, fifo.Remove(filepath.Join(path, "below", "nothing")))
}

// Package fifo owns the named pipes through which tenders write their consoles.
//
// A tender outlives the daemon, so its console must not depend on a reader. This package
// opens either end for reading and writing. So the tender's end has a reader, itself, and
// SIGPIPE never kills it; the daemon's end has a writer, itself, and never sees an end of
// file. Output without a daemon waits in the pipe, which is as large as the kernel
// allows; then the unikernel waits, too. The pipe of another daemon's unikernel is read
// as usual, up to its end of file.
//
// The package opens, changes and removes named pipes only, and follows no symbolic link.
package fifo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/proc"
)

const (
	// Mode lets members of the group read a console beside the daemon.
	Mode = 0o640
	// usualSize is the largest pipe, in bytes, that the kernel allows everybody by
	// default.
	usualSize = 1 << 20
)

// Path returns the pipe of a unikernel in a directory. A name always contains a ':' and
// never a '/', so it is always a file in that directory, even though "." and ".." are
// labels.
func Path(dir string, n messages.Name) string { return filepath.Join(dir, n.String()) }

// Create makes a pipe for the group gid, or for our own if that is negative. It keeps an
// existing pipe with its contents, which belong to a tender that has outlived a daemon.
func Create(path string, gid int) error {
	err := unix.Mkfifo(path, 0o600)
	failpoint.Here("fifo/made")
	if err == nil || err == unix.EEXIST {
		err = own(path, gid)
	}
	if err != nil {
		return fmt.Errorf("cannot create console %s: %w", path, err)
	}
	failpoint.Here("fifo/created")
	return nil
}

// own sets group and mode, in this order, since a change of the group may clear bits of
// the mode. It follows the creation, so that neither the umask nor a crash between the
// two matters.
func own(path string, gid int) error {
	f, err := open(path, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Chown(-1, gid); err != nil {
		return err
	}
	failpoint.Here("fifo/owned")
	return f.Chmod(Mode)
}

// OpenWriter opens the end that becomes a tender's standard output and error, or the
// daemon's end. The two are separate open files, so that neither can change the flags of
// the other. It is blocking, as programs expect.
func OpenWriter(path string) (*os.File, error) {
	f, err := open(path, unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("cannot open console %s: %w", path, err)
	}
	return enlarged(f)
}

// Unnamed makes a pipe without a name, and returns two ends of it. Both are like those of
// OpenWriter, and no flag of one changes the other.
func Unnamed() (output, console *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("cannot make a console: %w", err)
	}
	defer func() { _ = errors.Join(unix.Close(fds[0]), unix.Close(fds[1])) }()
	if output, err = reopen(fds[0], "console", unix.O_RDWR); err != nil {
		return nil, nil, fmt.Errorf("cannot make a console: %w", err)
	}
	if console, err = reopen(fds[0], "console", unix.O_RDWR); err == nil {
		console, err = enlarged(console)
	}
	if err != nil {
		_ = output.Close()
		return nil, nil, fmt.Errorf("cannot make a console: %w", err)
	}
	return output, console, nil
}

// OpenOutput is OpenWriter for the pipe that is the standard output of a process,
// whatever became of its name. It returns proc.ErrGone if the process is gone.
func OpenOutput(p messages.Process) (*os.File, error) {
	path := fmt.Sprintf("/proc/%d/fd/1", p.PID)
	f, err := openOutput(path, p)
	if err != nil {
		return nil, fmt.Errorf("cannot open the console of process %d: %w", p.PID, err)
	}
	return enlarged(f)
}

func openOutput(path string, p messages.Process) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	// The order matters: if the process is there now, it had the pid before, too.
	now, err := proc.Identify(p.PID)
	switch {
	case err != nil:
		return nil, err
	case now != p:
		return nil, proc.ErrGone
	}
	if err := check(fd); err != nil {
		return nil, err
	}
	return reopen(fd, path, unix.O_RDWR)
}

// enlarged returns an opened pipe after enlarge.
func enlarged(f *os.File) (*os.File, error) {
	if err := enlarge(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot enlarge console %s: %w", f.Name(), err)
	}
	return f, nil
}

// OpenForeign opens the daemon's end of the console of another daemon's unikernel. It
// ends with the last writer.
func OpenForeign(path string) (*os.File, error) {
	f, err := open(path, unix.O_RDONLY|unix.O_NONBLOCK) // or the open would block until there is a writer
	if err != nil {
		return nil, fmt.Errorf("cannot open console %s: %w", path, err)
	}
	return f, nil
}

var errNotFIFO = errors.New("not a named pipe")

// open opens the same file that hold has checked.
func open(path string, flags int) (*os.File, error) {
	fd, err := hold(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	return reopen(fd, path, flags)
}

// reopen opens the file of a descriptor.
func reopen(fd int, path string, flags int) (*os.File, error) {
	end, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(end, false); err != nil { // or the runtime of Go would poll it
		_ = unix.Close(end)
		return nil, err
	}
	return os.NewFile(uintptr(end), path), nil
}

// hold returns a descriptor for a named pipe without opening it.
func hold(path string) (fd int, err error) {
	fd, err = unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := check(fd); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// check refuses a descriptor of anything but a named pipe.
func check(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return errNotFIFO
	}
	return nil
}

// enlarge makes the pipe as large as the machine allows, or half of that as often as
// needed if this user has many pipes already. It never shrinks it. Memory is used only
// for what is written.
func enlarge(f *os.File) error {
	return control(f, func(fd int) error {
		now, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			return err
		}
		for size := largest(); size > now; size /= 2 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size); err != unix.EPERM {
				return err
			}
		}
		return nil
	})
}

// largest returns the largest size that this machine allows.
func largest() int {
	text, err := os.ReadFile("/proc/sys/fs/pipe-max-size")
	if err != nil {
		return usualSize
	}
	size, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return usualSize
	}
	return size
}

// control calls do with the descriptor of f, which stays open meanwhile.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

// Remove removes a pipe; one that is gone already is no error. The contents are lost once
// nobody has it open.
func Remove(path string) error {
	err := remove(path)
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("cannot remove console %s: %w", path, err)
	}
	failpoint.Here("fifo/removed")
	return nil
}

func remove(path string) error {
	fd, err := hold(path)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Unlink(path)
}

// Package fifo owns the named pipes through which tenders write their consoles.
//
// A tender outlives the daemon, so its console must not depend on a reader. This package
// opens either end for reading and writing. So the tender's end has a reader, itself, and
// SIGPIPE never kills it; the daemon's end has a writer, itself, and never sees an end of
// file. Output without a daemon waits in the pipe, which is as large as the kernel
// allows; then the unikernel waits, too. The pipe of another daemon's unikernel is read
// as usual, up to its end of file.
//
// A pipe of ours loses its name before the tender starts, so that nobody else opens or
// removes it. OpenOutput finds it as the standard output of the tender, and the kernel
// still shows the name it had in /proc/PID/fd/1, which identifies a tender that is on no
// record.
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

// usualSize is the largest pipe, in bytes, that the kernel allows everybody by default.
const usualSize = 1 << 20

// Path returns the pipe of a unikernel in a directory. A name always contains a ':' and
// never a '/', so it is always a file in that directory, even though "." and ".." are
// labels.
func Path(dir string, n messages.Name) string { return filepath.Join(dir, n.String()) }

// Create makes a pipe. It keeps an existing one: another daemon's, which its unikernel has
// open, or one that a daemon of ours left when it died before Unname.
func Create(path string) error {
	err := unix.Mkfifo(path, 0o600)
	if err == unix.EEXIST {
		err = exists(path)
	}
	if err != nil {
		return fmt.Errorf("cannot create console %s: %w", path, err)
	}
	failpoint.Here("fifo/created")
	return nil
}

// exists returns an error unless there is a named pipe.
func exists(path string) error {
	fd, err := hold(path)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

// Unname opens both ends of a pipe as OpenWriter does, and removes its name.
func Unname(path string) (output, console *os.File, err error) {
	if output, err = OpenWriter(path); err != nil {
		return nil, nil, err
	}
	if console, err = OpenWriter(path); err == nil {
		if err = Remove(path); err == nil {
			return output, console, nil
		}
		_ = console.Close()
	}
	_ = output.Close()
	return nil, nil, err
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

// OpenOutput is OpenWriter for the pipe that is the standard output of a process,
// whatever became of its name. It returns proc.ErrGone if the process has ended.
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
	if err == unix.ENOENT || err == unix.ESRCH { // also if nobody has reaped it yet
		return nil, proc.ErrGone
	}
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

// EndForeign reports whether the console of another daemon's unikernel has lost its name, so that
// nobody can open it any more. Its reader then sees an end, unless somebody has it open: without a
// writer ever, there would be none.
func EndForeign(f *os.File) (unnamed bool, err error) {
	err = control(f, func(fd int) error {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil || stat.Nlink > 0 {
			return err
		}
		unnamed = true
		writer, err := reopen(fd, f.Name(), unix.O_WRONLY|unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		return writer.Close()
	})
	if err != nil {
		return false, fmt.Errorf("cannot look for the name of console %s: %w", f.Name(), err)
	}
	return unnamed, nil
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

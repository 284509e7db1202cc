// Package fifo owns the named pipes through which the tenders write their
// consoles.
//
// A tender outlives the daemon, so its console must not depend on anybody
// reading it. Whoever opens such a pipe here opens it for reading and writing:
// the tender's end has a reader, itself, and is never killed by SIGPIPE; the
// daemon's end has a writer, itself, and never sees an end of file. What is
// written while no daemon is there waits in the pipe, which is as large as the
// kernel allows, and then the unikernel waits too. What another daemon runs is read as a pipe usually is: its
// end is the end of the file.
//
// Nothing that is not a named pipe is ever opened, changed or removed, and no
// symbolic link is followed.
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
	// Mode lets members of its group read a console beside the daemon.
	Mode = 0o640
	// usualSize is the largest pipe that the kernel allows everybody unless it is set
	// up otherwise, in bytes.
	usualSize = 1 << 20
)

// Path is the pipe of a unikernel in a directory. A name always has a ':' in
// it and never a '/', so it is always a file in that directory, even though
// "." and ".." are labels.
func Path(dir string, n messages.Name) string { return filepath.Join(dir, n.String()) }

// Create makes a pipe that belongs to the group gid, or to our own where that is
// negative. One that is there already is kept with all that is in it: it belongs
// to a tender that has outlived a daemon.
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

// own sets group and mode: in this order, for a change of the group may clear
// bits of the mode, and after the pipe is there, for the umask and a crash
// between the two must not matter.
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

// OpenWriter opens the end that becomes a tender's standard output and error, or
// the daemon's, which shares nothing with the former that one could change for the
// other. It blocks, as programs expect of those.
func OpenWriter(path string) (*os.File, error) {
	f, err := open(path, unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("cannot open console %s: %w", path, err)
	}
	return enlarged(f)
}

// OpenOutput is OpenWriter for the pipe that a process has as its standard output,
// whatever has become of the name of that. The error is proc.ErrGone where the
// process is not there any more.
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
	// Asked behind that: if the process is there now, it was the one that had the pid.
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

// enlarged is a pipe that has been opened; see enlarge.
func enlarged(f *os.File) (*os.File, error) {
	if err := enlarge(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot enlarge console %s: %w", f.Name(), err)
	}
	return f, nil
}

// OpenForeign opens the daemon's end of the console of what another daemon runs.
// It comes to its end with the last one who writes.
func OpenForeign(path string) (*os.File, error) {
	f, err := open(path, unix.O_RDONLY|unix.O_NONBLOCK) // or it would wait for somebody who writes
	if err != nil {
		return nil, fmt.Errorf("cannot open console %s: %w", path, err)
	}
	return f, nil
}

var errNotFIFO = errors.New("not a named pipe")

// open opens the very file that hold has looked at.
func open(path string, flags int) (*os.File, error) {
	fd, err := hold(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	return reopen(fd, path, flags)
}

// reopen opens what a descriptor refers to.
func reopen(fd int, path string, flags int) (*os.File, error) {
	end, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(end, false); err != nil { // or the runtime of Go would watch it
		_ = unix.Close(end)
		return nil, err
	}
	return os.NewFile(uintptr(end), path), nil
}

// hold refers to a named pipe without opening it.
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

// check makes sure that a descriptor is of a named pipe.
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

// enlarge makes the pipe as large as it may be: that is what the machine is set up
// for, or half of it as often as needed where this user has many pipes already. It
// stays as it is where it is larger. Memory is taken only for what is written.
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

// largest is how large this machine lets a pipe be.
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

// Remove removes a pipe; that it is gone already is fine. What is in it is
// lost once nobody has it open.
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

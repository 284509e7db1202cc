// Package fifo owns the named pipes through which the tenders write their
// consoles.
//
// A tender outlives the daemon, so its console must not depend on anybody
// reading it. Whoever opens such a pipe here opens it for reading and writing:
// the tender's end has a reader, itself, and is never killed by SIGPIPE; the
// daemon's end has a writer, itself, and never sees an end of file. What is
// written while no daemon is there waits in the pipe, up to Size, and then the
// unikernel waits too. What another daemon runs is read as a pipe usually is: its
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

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

const (
	// Mode lets members of its group read a console beside the daemon.
	Mode = 0o640
	// Size is how many bytes a pipe holds, where the kernel allows that many: a
	// megabyte is what it allows everybody unless it is set up otherwise. Memory
	// is taken only for what is written.
	Size = 1 << 20
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
	if err := enlarge(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot enlarge console %s: %w", path, err)
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

// enlarge makes the pipe hold Size. It stays as it is where that is not
// allowed, or where it is larger and holds more.
func enlarge(f *os.File) error {
	return control(f, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, Size)
		if err == unix.EPERM || err == unix.EBUSY {
			return nil
		}
		return err
	})
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

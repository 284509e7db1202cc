// Package fifo owns the named pipes through which the tenders write their
// consoles.
//
// A tender outlives the daemon, so its console must not depend on anybody
// reading it. Whoever opens such a pipe here opens it for reading and writing:
// the tender's end has a reader, itself, and is never killed by SIGPIPE; the
// daemon's end has a writer, itself, and never sees an end of file. What is
// written while no daemon is there waits in the pipe, up to Size, and then the
// unikernel waits too.
//
// Nothing that is not a named pipe is ever opened, changed or removed, and no
// symbolic link is followed.
package fifo

import (
	"errors"
	"fmt"
	"io"
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
	f, err := open(path, unix.O_NONBLOCK)
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

// OpenReader opens the daemon's end. Reads wait for output without occupying a
// thread and end by a deadline or Close, never by an end of file.
func OpenReader(path string) (*os.File, error) {
	return openEnd(path, unix.O_NONBLOCK)
}

// OpenWriter opens the end that becomes a tender's standard output and error.
// It blocks, as programs expect of those; and it shares nothing with the
// reader that one could change for the other.
func OpenWriter(path string) (*os.File, error) {
	return openEnd(path, 0)
}

func openEnd(path string, flags int) (*os.File, error) {
	f, err := open(path, flags)
	if err != nil {
		return nil, fmt.Errorf("cannot open console %s: %w", path, err)
	}
	if err := enlarge(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot enlarge console %s: %w", path, err)
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
	end, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC|flags, 0)
	if err != nil {
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

// Drain writes what is in the pipe now to w, and waits for nothing. It is for
// the end of a tender: what it has written last is in the pipe, and no end of
// file will tell that this was all. It works whatever the read deadline is, so
// that a deadline can be used to stop the reader before.
func Drain(reader *os.File, w io.Writer) error {
	// A grandchild of the tender could write for ever; the tender itself has left
	// no more than fits.
	buffer := make([]byte, 64<<10)
	for left := Size; left > 0; {
		n, err := readNow(reader, buffer)
		if err != nil || n == 0 {
			return err
		}
		if _, err := w.Write(buffer[:n]); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// readNow reads what is there; n is 0 where nothing is.
func readNow(reader *os.File, buffer []byte) (n int, err error) {
	err = control(reader, func(fd int) error {
		var err error
		for {
			if n, err = unix.Read(fd, buffer); err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			n, err = 0, nil
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot read console %s: %w", reader.Name(), err)
	}
	return n, nil
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

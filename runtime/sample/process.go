package sample

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
)

// firstBuffer is more than any of the files usually has.
const firstBuffer = 16 << 10

// largestFile is for a process in so many groups that nobody has them.
const largestFile = 4 << 20

// A reader reads the files of processes, one after the other.
type reader struct {
	blockIO bool // is wanted
	buffer  []byte
}

func newReader(blockIO bool) *reader {
	return &reader{blockIO: blockIO, buffer: make([]byte, firstBuffer)}
}

// usage reads what a process has used. The error is proc.ErrGone where it has
// ended, or where another one has its pid. All is read below one directory, which
// stays that of the same process.
func (r *reader) usage(p messages.Process) (usage, error) {
	dir, err := unix.Open("/proc/"+strconv.Itoa(p.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return usage{}, unreadable(p.PID, err)
	}
	defer func() { _ = unix.Close(dir) }()
	u, err := r.usageIn(dir)
	switch {
	case err != nil:
		return usage{}, unreadable(p.PID, err)
	case u.start != int64(p.StartTime), u.ended:
		return usage{}, proc.ErrGone
	case u.size == 0 && u.vsize > 0: // it has ended while it was looked at
		return usage{}, proc.ErrGone
	}
	return u, nil
}

func (r *reader) usageIn(dir int) (u usage, err error) {
	if err := r.parse(dir, "stat", u.parseStat); err != nil {
		return usage{}, err
	}
	if err := r.parse(dir, "statm", u.parseStatm); err != nil {
		return usage{}, err
	}
	if err := r.parse(dir, "status", u.parseStatus); err != nil {
		return usage{}, err
	}
	if !r.blockIO {
		return u, nil
	}
	err = r.parse(dir, "io", u.parseIO)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) {
		return u, nil // not everybody may read it, and not every kernel has it
	}
	return u, err
}

func (r *reader) parse(dir int, file string, parse func([]byte) error) error {
	contents, err := r.read(dir, file)
	if err != nil {
		return err
	}
	return parse(contents)
}

// read is the contents of a file, until the next one is read.
func (r *reader) read(dir int, file string) ([]byte, error) {
	fd, err := unix.Openat(dir, file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n := 0
	for {
		more, err := unix.Read(fd, r.buffer[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		n += more
		if n < len(r.buffer) { // these files are shown in one piece where that fits
			return r.buffer[:n], nil
		}
		if n >= largestFile {
			return nil, fmt.Errorf("/proc/PID/%s has more than %d bytes", file, largestFile)
		}
		r.buffer = append(r.buffer, make([]byte, len(r.buffer))...)
	}
}

func unreadable(pid int, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return proc.ErrGone
	}
	return fmt.Errorf("cannot measure process %d: %w", pid, err)
}

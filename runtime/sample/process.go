package sample

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
)

// firstBuffer is larger than any of the files usually is.
const firstBuffer = 16 << 10

// largestFile is enough for a process in absurdly many groups.
const largestFile = 4 << 20

// files are those of one process, opened below one directory: they stay those of this
// process, even if another one gets its pid.
type files struct {
	stat, statm, status int // descriptors
	io                  int // negative: not readable, or not in this kernel
	rollup              int // smaps_rollup; negative likewise
	pass                uint64
}

// filesEach is the number of files of each process.
const filesEach = 5

func openFiles(pid int) (*files, error) {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	f := &files{stat: -1, statm: -1, status: -1, io: -1, rollup: -1}
	for _, file := range []struct {
		name string
		fd   *int
	}{{"stat", &f.stat}, {"statm", &f.statm}, {"status", &f.status}, {"io", &f.io}, {"smaps_rollup", &f.rollup}} {
		*file.fd, err = unix.Openat(dir, file.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil && file.fd != &f.io && file.fd != &f.rollup {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

func (f *files) close() {
	for _, fd := range []int{f.stat, f.statm, f.status, f.io, f.rollup} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// usage reads what a process has used. It returns proc.ErrGone if the process has ended,
// or if another one has its pid.
func (s *Sampler) usage(p messages.Process, blockIO bool) (u usage, err error) {
	f := s.open[p]
	if f == nil {
		if f, err = openFiles(p.PID); err != nil {
			return usage{}, unreadable(p.PID, err)
		}
	}
	f.pass = s.passes
	runtime, clockErr := cpuTime(p.PID) // of this process, if that still exists afterwards
	u, err = s.read(f, blockIO)
	u.runtime = runtime
	err = errors.Join(err, clockErr)
	switch {
	case err != nil:
		err = unreadable(p.PID, err)
	case u.start != int64(p.StartTime), u.ended:
		err = proc.ErrGone
	case u.size == 0 && u.vsize > 0: // it has ended meanwhile
		err = proc.ErrGone
	}
	s.keep(p, f, err == nil)
	return u, err
}

// keep keeps files open if they may be used again, up to a limit.
func (s *Sampler) keep(p messages.Process, f *files, useful bool) {
	_, kept := s.open[p]
	if useful && (kept || len(s.open) < s.most) {
		s.open[p] = f
		return
	}
	delete(s.open, p)
	f.close()
}

// closeOthers closes the files of processes that were not measured in this pass.
func (s *Sampler) closeOthers() {
	for process, f := range s.open {
		if f.pass != s.passes {
			delete(s.open, process)
			f.close()
		}
	}
}

func (s *Sampler) read(f *files, blockIO bool) (u usage, err error) {
	if err := s.parse(f.stat, u.parseStat); err != nil {
		return usage{}, err
	}
	if err := s.parse(f.statm, u.parseStatm); err != nil {
		return usage{}, err
	}
	if err := s.parse(f.status, u.parseStatus); err != nil {
		return usage{}, err
	}
	if u.size > 0 && u.rss == 0 { // see parseRollup
		if err := s.parseAllowed(f.rollup, u.parseRollup); err != nil {
			return usage{}, err
		}
	}
	if !blockIO {
		return u, nil
	}
	return u, s.parseAllowed(f.io, u.parseIO)
}

// cpuTime returns the CPU time of all threads of a process. The files have it in
// hundredths of a second only, which many guests never use.
func cpuTime(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED of the kernel's posix-timers
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		if err == unix.EINVAL { // the pid is free
			err = unix.ESRCH
		}
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// parseAllowed is parse for a file that may be missing or unreadable.
func (s *Sampler) parseAllowed(fd int, parse func([]byte) error) error {
	if fd < 0 {
		return nil
	}
	err := s.parse(fd, parse)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

// parse reads a file from its beginning, which makes the kernel compute it anew.
func (s *Sampler) parse(fd int, parse func([]byte) error) error {
	n := 0
	for {
		more, err := unix.Pread(fd, s.buffer[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		n += more
		if n < len(s.buffer) { // the kernel returns these files whole if they fit
			return parse(s.buffer[:n])
		}
		if n >= largestFile {
			return fmt.Errorf("a file has more than %d bytes", largestFile)
		}
		s.buffer = append(s.buffer, make([]byte, len(s.buffer))...)
	}
}

func unreadable(pid int, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return proc.ErrGone
	}
	return fmt.Errorf("cannot measure process %d: %w", pid, err)
}

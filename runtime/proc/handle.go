package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// reapGrace is how long a process that has ended may stay unreaped by its
// parent before its exit is called unknown. The parent is an init or a
// subreaper, which reaps within milliseconds, or never.
const reapGrace = 2 * time.Second

// A Handle holds one process, alive or not, through its pidfd. All methods may
// be called concurrently.
type Handle struct {
	process messages.Process
	file    *os.File // the pidfd, registered with the poller of the Go runtime
	conn    syscall.RawConn

	// turn is held by the one Wait that polls: reaping and the read deadline
	// of file are for one at a time. It guards what follows.
	turn chan struct{}
	over bool
	exit messages.Exit // where over
}

// Open holds the process p. The error is ErrGone where that process is not
// there any more. One that has ended and was not reaped is still there: its
// exit has to be learned.
func Open(p messages.Process) (*Handle, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	if p.BootID != boot || p.PID <= 0 {
		return nil, gone(p)
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	switch {
	case err == unix.ESRCH, err == unix.EINVAL, err == unix.ENOENT:
		return nil, gone(p) // nobody has the pid, or a thread of another process
	case err != nil:
		return nil, fmt.Errorf("cannot open process %d: %w", p.PID, err)
	}
	h, err := newHandle(fd, p)
	if err != nil {
		return nil, err
	}
	if err := h.verify(); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// FromPidfd holds the process p by a pidfd that the caller has of it, and that
// belongs to the Handle from now on. The caller answers for p being that one.
func FromPidfd(pidfd int, p messages.Process) (*Handle, error) {
	if err := unix.SetNonblock(pidfd, true); err != nil {
		_ = unix.Close(pidfd)
		return nil, fmt.Errorf("internal error: no pidfd of process %d: %w", p.PID, err)
	}
	return newHandle(pidfd, p)
}

func newHandle(pidfd int, p messages.Process) (*Handle, error) {
	file := os.NewFile(uintptr(pidfd), fmt.Sprintf("process %d", p.PID))
	conn, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // fails where the poller does not take it
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("internal error: cannot poll process %d: %w", p.PID, err)
	}
	return &Handle{process: p, file: file, conn: conn, turn: make(chan struct{}, 1)}, nil
}

// verify makes sure that the pidfd is of the process that was meant. The pid
// is looked up after the pidfd was opened: if it has the start time now, then
// the process has had the pid since before, and the pidfd is of it.
func (h *Handle) verify() error {
	start, err := startTime(h.process.PID)
	switch {
	case errors.Is(err, ErrGone), err == nil && start != h.process.StartTime:
		return gone(h.process)
	case err != nil:
		return fmt.Errorf("cannot identify process %d: %w", h.process.PID, err)
	}
	return nil
}

func gone(p messages.Process) error { return fmt.Errorf("process %d: %w", p.PID, ErrGone) }

// Process returns whom the handle holds.
func (h *Handle) Process() messages.Process { return h.process }

// Signal sends a signal. The error is ErrGone once the process was reaped.
func (h *Handle) Signal(sig syscall.Signal) error {
	var err error
	if closed := h.conn.Control(func(fd uintptr) {
		err = unix.PidfdSendSignal(int(fd), sig, nil, 0)
	}); closed != nil {
		return os.ErrClosed
	}
	if err == unix.ESRCH {
		return gone(h.process)
	}
	if err != nil {
		return fmt.Errorf("cannot send signal %d to process %d: %w", sig, h.process.PID, err)
	}
	return nil
}

// Close lets go of the process; it neither ends nor reaps it. A Wait that is
// under way returns os.ErrClosed.
func (h *Handle) Close() error { return h.file.Close() }

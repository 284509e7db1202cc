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

// reapGrace is how long a process that has ended may stay unreaped before its exit is
// called unknown. Its parent is an init or a subreaper, which reaps within milliseconds,
// or never.
const reapGrace = 2 * time.Second

// A Handle holds one process, alive or not, by its pidfd. All methods may be called
// concurrently.
type Handle struct {
	process messages.Process
	file    *os.File // the pidfd, registered with the poller of the Go runtime
	conn    syscall.RawConn

	// turn is held by the one Wait that polls: only one may reap and set the read
	// deadline of file. It guards what follows.
	turn chan struct{}
	over bool
	end  End // if over
}

// Open returns a handle for the process p, or ErrGone if p is gone. A process that has
// ended unreaped still exists: its exit can be read.
func Open(p messages.Process) (*Handle, error) {
	fd, err := OpenPidfd(p)
	if err != nil {
		return nil, err
	}
	return newHandle(fd, p)
}

// OpenPidfd is Open for a caller that polls many processes itself. The pidfd does not
// block, and belongs to the caller.
func OpenPidfd(p messages.Process) (pidfd int, err error) {
	boot, err := BootID()
	if err != nil {
		return -1, err
	}
	if p.BootID != boot || p.PID <= 0 {
		return -1, gone(p)
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	switch {
	case err == unix.ESRCH, err == unix.EINVAL, err == unix.ENOENT:
		return -1, gone(p) // the pid is free, or that of a thread of another process
	case err != nil:
		return -1, fmt.Errorf("cannot open process %d: %w", p.PID, err)
	}
	if err := verify(p); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// FromPidfd returns a handle for the process p with a pidfd of the caller's, which then
// belongs to the Handle. The caller guarantees that the pidfd refers to p.
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
		err = file.SetReadDeadline(time.Time{}) // fails if the poller does not accept it
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("internal error: cannot poll process %d: %w", p.PID, err)
	}
	return &Handle{process: p, file: file, conn: conn, turn: make(chan struct{}, 1)}, nil
}

// verify checks that a pidfd refers to the recorded process. It looks the pid up after
// the pidfd was opened: if its start time is right now, the process has had the pid since
// before, so the pidfd refers to it.
func verify(p messages.Process) error {
	start, err := startTime(p.PID)
	switch {
	case errors.Is(err, ErrGone), err == nil && start != p.StartTime:
		return gone(p)
	case err != nil:
		return fmt.Errorf("cannot identify process %d: %w", p.PID, err)
	}
	return nil
}

func gone(p messages.Process) error { return fmt.Errorf("process %d: %w", p.PID, ErrGone) }

// Process returns the record of the process.
func (h *Handle) Process() messages.Process { return h.process }

// Signal sends a signal. It returns ErrGone once the process was reaped.
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

// Close closes the handle; it neither ends nor reaps the process. A Wait under way
// returns os.ErrClosed.
func (h *Handle) Close() error { return h.file.Close() }

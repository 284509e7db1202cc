package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// A state is what can be seen of a process at one moment. It only ever grows.
type state int

const (
	running  state = iota
	unreaped       // ended; its parent, another process, has not reaped it
	over           // ended; nothing more will be known
)

// An End is how a process has ended, as far as it is known.
type End struct {
	Exit  messages.Exit
	Usage messages.Option[messages.Usage] // of a child of this program
}

// Wait waits for the end of the process, without occupying a thread, and returns how it has
// ended. It reaps a child. The exit of another process is known if it can be seen before
// its parent has reaped it, or if the kernel keeps it (Linux 6.15); otherwise it is the
// unknown one. The error is that of ctx, or os.ErrClosed.
func (h *Handle) Wait(ctx context.Context) (End, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return End{}, ctx.Err()
	}
	if !h.over {
		if err := h.waitOver(ctx); err != nil {
			return End{}, err
		}
	}
	return h.end, nil
}

func (h *Handle) waitOver(ctx context.Context) error {
	now, err := h.waitPast(ctx, running)
	if err == nil && now == unreaped {
		err = h.waitReaped(ctx)
	}
	h.over = err == nil
	return err
}

// Ended reports whether the process has ended, reaped or not.
func (h *Handle) Ended() bool {
	ended := false
	err := h.conn.Control(func(fd uintptr) { ended = events(int(fd)) != 0 })
	return ended && err == nil
}

// waitReaped leaves the exit unknown if nobody reaps the process in time.
func (h *Handle) waitReaped(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, reapGrace)
	defer cancel()
	_, err := h.waitPast(grace, unreaped)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// waitPast waits until the process has left a state. The kernel wakes pollers of a pidfd
// when the process ends, and again when it is reaped.
func (h *Handle) waitPast(ctx context.Context, old state) (now state, err error) {
	pollErr := h.poll(ctx, func(fd int) bool {
		now, err = h.look(fd)
		return now > old || err != nil
	})
	return now, errors.Join(pollErr, err)
}

// poll calls done at once, and whenever the pidfd wakes it, until done returns true or
// ctx ends.
func (h *Handle) poll(ctx context.Context, done func(fd int) bool) error {
	if err := h.file.SetReadDeadline(time.Time{}); err != nil {
		return os.ErrClosed
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = h.file.SetReadDeadline(time.Unix(1, 0)) // fails if the file is closed: nobody reads then
	})
	err := h.conn.Read(func(fd uintptr) bool { return done(int(fd)) })
	if !stop() {
		<-interrupted // otherwise it would interrupt a later poll
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	case err != nil:
		return os.ErrClosed // the poller has errors of its own for that
	}
	return nil
}

// look returns the state, and sets end when that is over.
func (h *Handle) look(fd int) (state, error) {
	var info unix.Siginfo
	err := retry(func() error {
		return unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	})
	switch {
	case err == unix.ECHILD:
		return h.lookForeign(fd), nil
	case err != nil:
		return running, fmt.Errorf("cannot wait for process %d: %w", h.process.PID, err)
	case info.Signo == 0:
		return running, nil
	}
	return over, h.reap()
}

// reap reads how our child ended. It has ended and is ours, so its pid stays its own
// until this call.
func (h *Handle) reap() error {
	var status unix.WaitStatus
	var usage unix.Rusage
	err := retry(func() error {
		_, err := unix.Wait4(h.process.PID, &status, unix.WNOHANG, &usage)
		return err
	})
	if err != nil {
		return fmt.Errorf("internal error: cannot reap process %d: %w", h.process.PID, err)
	}
	h.end = End{ExitOf(status), messages.Some(UsageOf(usage))}
	return nil
}

func (h *Handle) lookForeign(fd int) state {
	now, exit := lookForeign(fd, h.process)
	if now == over {
		h.end = End{Exit: exit}
	}
	return now
}

// LookForeign reports whether a process that is not our child has ended, and how, if known
// says that nobody will know more. It does not wait.
func LookForeign(pidfd int, p messages.Process) (exit messages.Exit, ended, known bool) {
	now, exit := lookForeign(pidfd, p)
	return exit, now > running, now == over
}

// lookForeign looks at a process that is not our child. It reads the events first: once
// they show that the process was reaped, its exit can be read.
func lookForeign(fd int, p messages.Process) (now state, exit messages.Exit) {
	seen := events(fd)
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err := unix.IoctlPidfdInfo(fd, &info)
	switch {
	case err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0:
		return over, ExitOf(unix.WaitStatus(info.Exit_code))
	case seen&unix.POLLHUP != 0:
		return over, messages.Exit{} // reaped, and this kernel does not keep it
	case seen&unix.POLLIN == 0:
		return running, messages.Exit{}
	}
	if exit, ok := unreapedExit(p); ok {
		return over, exit
	}
	return unreaped, messages.Exit{}
}

// events returns the events of a pidfd: POLLIN if the process has ended, also POLLHUP if
// it was reaped (Linux 6.9).
func events(fd int) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if err := retry(func() error { _, err := unix.Poll(fds, 0); return err }); err != nil {
		return 0
	}
	return fds[0].Revents
}

// ExitOf decodes the kernel's wait status.
func ExitOf(status unix.WaitStatus) messages.Exit {
	if status.Signaled() {
		return messages.Exit{Known: true, Signal: int(status.Signal())}
	}
	return messages.Exit{Known: true, Code: status.ExitStatus()}
}

// UsageOf returns what a child of this program has used, as the kernel reports it to a parent.
// The kernel counts what this program had in memory when it forked the child as the child's
// own, so a maximum that is not larger is unknown.
func UsageOf(child unix.Rusage) messages.Usage {
	u := messages.Usage{UserMicros: child.Utime.Nano() / 1000, SystemMicros: child.Stime.Nano() / 1000}
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err == nil && child.Maxrss > own.Maxrss {
		u.MaxMemory = child.Maxrss
	}
	return u
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Package detach starts a process that goes on when all who have started it end: in a session of
// its own, as no child of the caller, and without a pipe of the caller. The keeper and the
// processes of networks begin in this way.
package detach

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// Ready is the report of a process that has begun; any other text is the reason why it
	// could not.
	Ready = "+"
	// Descriptor is where the process reports.
	Descriptor = 3
)

// Start starts this program with other arguments, and returns what it reports: Ready, or why it
// has not begun. It writes to the file crash only when it crashes. The caller ends next: the
// process is its child until then.
func Start(arguments []string, crash string) (report string, err error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	stack, err := os.OpenFile(crash, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = stack.Close() }()
	reports, end, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer func() { _ = reports.Close() }()
	c := exec.Command(program, arguments...)
	c.Dir, c.Stderr, c.ExtraFiles = "/", stack, []*os.File{end}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = c.Start()
	_ = end.Close()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(reports)
	if err == nil && len(text) == 0 {
		err = errors.New("the process has ended")
	}
	return string(text), err
}

// Report reports to who has started this process by Start. An error says that nobody waits for
// that any more.
func Report(descriptor int, text string) error {
	_, err := unix.Write(descriptor, []byte(text))
	_ = unix.Close(descriptor)
	return err
}

// Abandoned reports whether nobody waits for the report any more.
func Abandoned(descriptor int) bool {
	poll := []unix.PollFd{{Fd: int32(descriptor)}}
	_, err := unix.Poll(poll, 0)
	return err == nil && poll[0].Revents&unix.POLLERR != 0
}

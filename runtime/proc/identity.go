package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// ErrGone says that the process is not there any more: it ended and was
// reaped, before this boot or in it. Whoever has its pid now is somebody else.
var ErrGone = errors.New("process is gone")

// BootID identifies the running boot of this machine.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot read the boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// Identify tells who has a pid now. The answer lasts only as long as nobody
// reaps that process: ask for a child of one's own, or hold its pidfd.
func Identify(pid int) (messages.Process, error) {
	boot, err := BootID()
	if err != nil {
		return messages.Process{}, err
	}
	start, err := startTime(pid)
	if err != nil {
		return messages.Process{}, fmt.Errorf("cannot identify process %d: %w", pid, err)
	}
	return messages.Process{PID: pid, StartTime: start, BootID: boot}, nil
}

// ticks is how many clock ticks a second has for programs, on all machines.
const ticks = 100

// Started returns when a process was started, by the clock as it is now.
func Started(p messages.Process) (time.Time, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, fmt.Errorf("cannot find out when process %d was started: %w", p.PID, err)
	}
	age := time.Duration(up.Nano()) - time.Duration(p.StartTime)*time.Second/ticks
	return time.Now().Add(-age), nil
}

// startTime returns when a process was started, in clock ticks since boot. An exec
// does not change it.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	return parseStartTime(stat)
}

func parseStartTime(stat []byte) (uint64, error) {
	text, err := statField(stat, 22)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(text, 10, 64)
}

// statField returns a field of /proc/PID/stat behind the second. That is the name of the
// program in parentheses, in which anything may stand, ')' and ' ' too; no later
// field has a parenthesis.
func statField(stat []byte, number int) (string, error) {
	const afterName = 3 // the first field behind the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if !bytes.ContainsRune(stat, ')') || len(fields) <= number-afterName {
		return "", fmt.Errorf("cannot understand /proc/PID/stat: %q", stat)
	}
	return string(fields[number-afterName]), nil
}

// unreapedExit returns how a process has ended that nobody has reaped yet. Who may not
// know is not told so, but that it has exited with 0: that is found out first.
func unreapedExit(p messages.Process) (messages.Exit, bool) {
	if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID)); !errors.Is(err, os.ErrNotExist) {
		return messages.Exit{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return messages.Exit{}, false
	}
	return parseUnreapedExit(stat, p.StartTime)
}

// parseUnreapedExit returns that of a process that was started then: now the pid may be
// somebody else's.
func parseUnreapedExit(stat []byte, started uint64) (messages.Exit, bool) {
	state, err := statField(stat, 3)
	if start, startErr := parseStartTime(stat); err != nil || startErr != nil || state != "Z" || start != started {
		return messages.Exit{}, false
	}
	text, err := statField(stat, 52)
	if err != nil {
		return messages.Exit{}, false
	}
	status, err := strconv.ParseUint(text, 10, 32)
	return exitOf(unix.WaitStatus(status)), err == nil
}

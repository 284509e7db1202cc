package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// ErrGone says that the process is gone: it ended and was reaped, before this boot or in
// it. Its pid may belong to another process.
var ErrGone = errors.New("process is gone")

// BootID identifies the running boot of this machine, which this process does not outlive.
func BootID() (string, error) {
	if id := bootID.Load(); id != nil {
		return *id, nil
	}
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot read the boot id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	bootID.Store(&id)
	return id, nil
}

var bootID atomic.Pointer[string] // nil until it has been read

// Identify returns the process that has a pid now. The answer is valid until that process
// is reaped: ask for a child of your own, or hold its pidfd.
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

// ticks is the number of clock ticks in a second for programs, on all machines.
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

// startTime returns when a process was started, in clock ticks since boot. An exec does
// not change it.
func startTime(pid int) (uint64, error) {
	stat, err := readStat(pid)
	if err == unix.ENOENT || err == unix.ESRCH {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	return parseStartTime(stat)
}

// readStat reads /proc/PID/stat, which is shorter than a page. A daemon that takes over thousands of
// unikernels does so often, and a file of package os would take as long again.
func readStat(pid int) (text []byte, err error) {
	var fd, n int
	err = retry(func() (err error) {
		fd, err = unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	text = make([]byte, 4096)
	err = retry(func() (err error) {
		n, err = unix.Read(fd, text)
		return err
	})
	return text[:max(0, n)], err
}

func parseStartTime(stat []byte) (uint64, error) {
	text, err := statField(stat, 22)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(text, 10, 64)
}

// statField returns a field of /proc/PID/stat after the second. That one is the program's
// name in parentheses, which may contain anything, also ')' and ' '; no later field
// contains a parenthesis.
func statField(stat []byte, number int) (string, error) {
	const afterName = 3 // the first field after the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if !bytes.ContainsRune(stat, ')') || len(fields) <= number-afterName {
		return "", fmt.Errorf("cannot understand /proc/PID/stat: %q", stat)
	}
	return string(fields[number-afterName]), nil
}

// unreapedExit returns how a process has ended that nobody has reaped yet. The kernel
// shows 0 to a reader without permission, so it checks the permission first.
func unreapedExit(p messages.Process) (messages.Exit, bool) {
	if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID)); !errors.Is(err, os.ErrNotExist) {
		return messages.Exit{}, false
	}
	stat, err := readStat(p.PID)
	if err != nil {
		return messages.Exit{}, false
	}
	return parseUnreapedExit(stat, p.StartTime)
}

// parseUnreapedExit returns the exit, if the process was started then: the pid may belong
// to another one by now.
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
	return ExitOf(unix.WaitStatus(status)), err == nil
}

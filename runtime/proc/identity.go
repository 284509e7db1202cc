package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

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

// startTime is when a process was started, in clock ticks since boot. An exec
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

// parseStartTime finds field 22 of /proc/PID/stat. Field 2 is the name of the
// program in parentheses, in which anything may stand, ')' and ' ' too; no
// later field has a parenthesis.
func parseStartTime(stat []byte) (uint64, error) {
	const afterName = 3 // the first field behind the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if !bytes.ContainsRune(stat, ')') || len(fields) <= 22-afterName {
		return 0, fmt.Errorf("cannot understand /proc/PID/stat: %q", stat)
	}
	return strconv.ParseUint(string(fields[22-afterName]), 10, 64)
}

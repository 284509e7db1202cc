package confine

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// noCore is the limit at which the kernel also gives no core file to a program that it would
	// pipe one to. At 0 it does.
	noCore = 1
	// maxDescriptors is more than a tender opens: one or two for each of 63 devices, twice while
	// it gives them their numbers, and some for itself.
	maxDescriptors = 512
	// maxThreads is more than the runtime of Go and KVM start.
	maxThreads = 64
	// oomScore makes the kernel kill a unikernel before anything that uses less than half of
	// the memory of the machine, among which are the daemon and the keeper.
	oomScore = 500
)

// Begin takes what no tender needs, whoever has started it: new privileges of this thread and
// what it executes, core files, and locked memory.
func Begin() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := refuseCore(); err != nil {
		return err
	}
	return lower(unix.RLIMIT_MEMLOCK, 0)
}

// refuseCore sets the limit also where a lower one is usual.
func refuseCore() error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &now); err != nil {
		return err
	}
	limit := min(noCore, now.Max)
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: limit, Max: limit})
}

// raiseOOMScore leaves a score that is higher already, and one that cannot be written. It comes
// after the gate: before, a keeper sets the score.
func raiseOOMScore() {
	fd, err := open("/proc/self/oom_score_adj", unix.O_RDWR)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	text := make([]byte, 16)
	n, err := unix.Read(fd, text)
	if err != nil {
		return
	}
	if score, err := strconv.Atoi(strings.TrimSpace(string(text[:n]))); err == nil && score < oomScore {
		_, _ = unix.Write(fd, strconv.AppendInt(nil, oomScore, 10))
	}
}

// LimitFiles refuses to make a file larger than its largest block device, in bytes; 0: to
// write to any file. A tender for spt writes the executable before.
func LimitFiles(largest uint64) error {
	if err := lower(unix.RLIMIT_FSIZE, largest); err != nil {
		return fmt.Errorf("cannot limit the size of files: %w", err)
	}
	return nil
}

// limit bounds what else the process can use from here on.
func (o Order) limit() error {
	if err := lower(unix.RLIMIT_NOFILE, maxDescriptors); err != nil {
		return err
	}
	if !o.User { // it counts all processes of a user
		return nil
	}
	return lower(unix.RLIMIT_NPROC, maxThreads)
}

// lower lowers a limit for good.
func lower(resource int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: min(most, now.Cur), Max: min(most, now.Max)})
}

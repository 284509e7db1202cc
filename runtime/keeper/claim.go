package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/keeper/wire"
)

// A Claim is the right to read the consoles of a database directory. A daemon has it as long
// as it runs, whether it uses a keeper or not.
type Claim struct{ lock *os.File }

// Release gives it up. The caller has stopped to read consoles.
func (c *Claim) Release() { _ = c.lock.Close() }

// NewClaim waits for the claim: a daemon that was just killed may have it, or the keeper,
// which reads.
func NewClaim(ctx context.Context, dbdir string) (*Claim, error) {
	dir := filepath.Join(dbdir, wire.Dir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("cannot claim the consoles: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, wire.Readers), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot claim the consoles: %w", err)
	}
	if err = lock(ctx, f); errors.Is(err, unix.EWOULDBLOCK) {
		err = holder(f)
	}
	if err == nil {
		err = mark(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot claim the consoles: %w", err)
	}
	return &Claim{f}, nil
}

// lockPoll is the pause between tries.
const lockPoll = 10 * time.Millisecond

// lock returns unix.EWOULDBLOCK if another process has locked the file all the time. The keeper
// leaves it to who waits.
func lock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	fd := int(f.Fd())
	if err := try(ctx, func() error { return wire.Announce(fd) }); err != nil {
		return err
	}
	if err := try(ctx, func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	return wire.Withdraw(fd)
}

// try tries again and again until nobody is in the way.
func try(ctx context.Context, lock func() error) error {
	for {
		if err := lock(); err != unix.EWOULDBLOCK && err != unix.EINTR {
			return os.NewSyscallError("lock", err)
		}
		select {
		case <-ctx.Done():
			return unix.EWOULDBLOCK
		case <-time.After(lockPoll):
		}
	}
}

// mark shows the keeper that there is a new claim. It needs no room on the disk.
func mark(f *os.File) error {
	now := unix.NsecToTimeval(time.Now().UnixNano())
	return os.NewSyscallError("futimes", unix.Futimes(int(f.Fd()), []unix.Timeval{now, now}))
}

// holder says who has the claim, and what to do about it.
func holder(f *os.File) error {
	pid, err := lockedBy(f)
	if err != nil {
		return fmt.Errorf("another process has them, and nobody knows which: %w", err)
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return errors.New("another process had them until now: try again")
	}
	what := fmt.Sprintf("process %d, %s, has them", pid, strings.TrimSpace(string(name)))
	if status, err := os.ReadFile(filepath.Join(dir, "status")); err == nil && strings.Contains(string(status), "\nState:\tT") {
		what += ", and is stopped: kill it, and the next one takes over"
	}
	return errors.New(what)
}

// lockedBy returns the process that has locked a file, as proc_locks(5) lists it.
func lockedBy(f *os.File) (pid int, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(list)) {
		if fields := strings.Fields(line); len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == file {
			return strconv.Atoi(fields[4])
		}
	}
	return 0, errors.New("the kernel does not list it")
}

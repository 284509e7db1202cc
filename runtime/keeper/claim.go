package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		err = errors.New(holder(ctx, dbdir))
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

// lock returns unix.EWOULDBLOCK if another process has locked the file all the time.
func lock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return os.NewSyscallError("flock", err)
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
func holder(ctx context.Context, dbdir string) string {
	conn, err := dial(context.WithoutCancel(ctx), dbdir) // which does not wait
	if err != nil {
		return "another daemon has them"
	}
	defer func() { _ = conn.Close() }()
	pid, err := peer(conn)
	if err != nil {
		return "another daemon has them"
	}
	return fmt.Sprintf("the keeper, process %d, has stopped while it reads one: kill it, and the next one takes over", pid)
}

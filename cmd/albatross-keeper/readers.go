package main

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/runtime/keeper/wire"
)

// Who reads consoles has the claim, which is the lock on a file. A daemon has it as long as it
// runs; one that is connected may leave consoles to the keeper all the same. Otherwise the
// keeper has the claim only while it reads. So if the keeper was stopped, and a daemon did
// without it, the keeper does not read beside that daemon when it goes on. Nor does it go on
// with a history that a daemon has written to: a daemon notes in the file when it got the
// claim.

func (k *keeper) openClaim() (err error) {
	path := filepath.Join(k.dir, wire.Readers)
	if k.claim, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600); err != nil {
		return fmt.Errorf("cannot open %s: %w", path, err)
	}
	return nil
}

// mayRead reports whether the keeper may read consoles in this turn of the loop.
func (k *keeper) mayRead() bool {
	switch {
	case k.daemon != nil, k.reading:
		return true
	case k.readers:
		return false
	}
	switch err := k.tryClaim(); err {
	case nil:
		k.reading = true
		k.noteClaim()
		return true
	case unix.EWOULDBLOCK:
		k.awaitReaders()
		return false
	default:
		k.trouble.note("Cannot check whether a daemon reads consoles: %v", err)
		return true
	}
}

// tryClaim returns unix.EWOULDBLOCK if a daemon has the claim, or waits for it.
func (k *keeper) tryClaim() error {
	waits, err := wire.Announced(k.claim)
	switch {
	case err != nil:
		return err
	case waits:
		return unix.EWOULDBLOCK
	}
	return unix.Flock(k.claim, unix.LOCK_EX|unix.LOCK_NB)
}

// endReading gives up the claim.
func (k *keeper) endReading() {
	if k.reading {
		k.reading = false
		_ = unix.Flock(k.claim, unix.LOCK_UN) // it is open
	}
}

// noteClaim gives up all histories if a daemon has had the claim meanwhile.
func (k *keeper) noteClaim() {
	var stat unix.Stat_t
	if err := unix.Fstat(k.claim, &stat); err != nil {
		k.trouble.note("Cannot find out whether a daemon has read consoles: %v", err)
		return
	}
	if stat.Mtim == k.claimed {
		return
	}
	k.claimed = stat.Mtim
	for _, c := range k.children {
		k.abandonLog(c)
	}
}

// awaitReaders leaves all consoles to a daemon that is not connected: it may have lost its
// keeper, or its connection, or want none. The keeper reads no console until that daemon has
// connected, or has ended.
func (k *keeper) awaitReaders() {
	k.readers = true
	for _, c := range k.children {
		k.abandonLog(c)
		if c.console >= 0 {
			k.unwatch(c.console)
		}
	}
	if k.awaiting { // a former one, which may be the same
		return
	}
	k.awaiting = true
	path := filepath.Join(k.dir, wire.Readers)
	k.asides.await(func() func() {
		err := awaitLock(path)
		return func() {
			if err != nil {
				k.trouble.note("Cannot wait for the daemon that reads consoles: %v", err)
			}
			k.readers, k.awaiting = false, false
			k.keepAll()
		}
	})
}

// awaitLock waits until no process has locked a file, or waits for that.
func awaitLock(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := wire.AwaitAnnounced(fd); err != nil {
		return err
	}
	for {
		if err := unix.Flock(fd, unix.LOCK_SH); err != unix.EINTR {
			return err
		}
	}
}

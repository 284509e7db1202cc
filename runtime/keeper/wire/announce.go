package wire

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A daemon that waits for the lock on the file Readers announces that by another lock, on the first
// byte of the file. The keeper does not take the lock then. Otherwise a keeper with much to read,
// which gives it up for moments only, would keep a daemon from starting.

// Announce announces that who has opened the file waits for its lock, until Withdraw or the end of
// the process. It returns unix.EWOULDBLOCK if somebody else has announced that.
func Announce(file int) error { return lockByte(file, unix.F_OFD_SETLK, unix.F_WRLCK) }

// Withdraw ends an announcement.
func Withdraw(file int) error { return lockByte(file, unix.F_OFD_SETLK, unix.F_UNLCK) }

// Announced reports whether somebody waits for the lock.
func Announced(file int) (bool, error) {
	lock := firstByte(unix.F_RDLCK)
	err := unix.FcntlFlock(uintptr(file), unix.F_OFD_GETLK, &lock)
	return err == nil && lock.Type != unix.F_UNLCK, os.NewSyscallError("fcntl", err)
}

// AwaitAnnounced waits until nobody waits for the lock any more.
func AwaitAnnounced(file int) error {
	if err := lockByte(file, unix.F_OFD_SETLKW, unix.F_RDLCK); err != nil {
		return err
	}
	return Withdraw(file)
}

func lockByte(file, command int, kind int16) error {
	for {
		lock := firstByte(kind)
		if err := unix.FcntlFlock(uintptr(file), command, &lock); err != unix.EINTR {
			return err
		}
	}
}

func firstByte(kind int16) unix.Flock_t {
	return unix.Flock_t{Type: kind, Whence: io.SeekStart, Len: 1}
}

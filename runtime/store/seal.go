package store

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// verityArgument is struct fsverity_enable_arg of linux/fsverity.h.
type verityArgument struct {
	version   uint32
	algorithm uint32
	blockSize uint32
	saltSize  uint32
	salt      uint64
	sigSize   uint32
	_         uint32
	sig       uint64
	_         [11]uint64
}

// seal has the kernel check every read of an image from now on, by fs-verity, where kernel and
// file system can: what changes on disk afterwards is found even while a unikernel runs from
// it. The kernel reads the image for that, and we hash it again, so nobody should wait for it.
// An image that cannot be sealed, for want of room for instance, stays as verified as before.
func (i *Images) seal(f *os.File, d messages.Digest) error {
	if i.sealsNothing.Load() {
		return nil
	}
	switch enableVerity(f) {
	case nil:
		return i.verify(f, d) // the seal has changed the stamp
	case unix.ENOTTY, unix.EOPNOTSUPP:
		i.sealsNothing.Store(true)
	}
	return nil
}

func enableVerity(f *os.File) error {
	a := verityArgument{version: 1, algorithm: unix.FS_VERITY_HASH_ALG_SHA256, blockSize: 4096}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.FS_IOC_ENABLE_VERITY, uintptr(unsafe.Pointer(&a)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

package solo5

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unikernels of one image share the memory of its text, its constants, and the data that they
// have not written to: all have the pages of the file, as the kernel keeps them, in their
// memory. What they write to becomes their own.
//
// A change of the file would change such a unikernel as well, and when the file becomes
// shorter, the unikernel would die of SIGBUS. So only a file that nobody may write to is
// shared, which every image in the store is. Of any other one, as a linker or a copy overwrites
// it, each unikernel has a copy.

// Shareable reports whether an image can be mapped with a protection, and does not change
// while it is.
func Shareable(file int, protection int) bool {
	const anybodyWrites = 0o222
	var s unix.Stat_t
	if err := unix.Fstat(file, &s); err != nil || s.Mode&anybodyWrites != 0 {
		return false
	}
	// A file system may be mounted without the right to execute, or have no pages.
	page, err := unix.Mmap(file, 0, os.Getpagesize(), protection, unix.MAP_PRIVATE)
	return err == nil && unix.Munmap(page) == nil
}

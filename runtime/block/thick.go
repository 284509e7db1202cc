package block

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// Reserve allocates room in the file system for all of a device. New contents of such a
// device keep its room reserved.
func (d *Dir) Reserve(_ context.Context, name messages.Name) error {
	f, size, _, err := d.open(name)
	if err != nil {
		return cannot("reserve", name, err)
	}
	path := f.Name()
	_ = f.Close() // it was open for reading
	if f, err = os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0); err != nil {
		return cannot("reserve", name, err)
	}
	defer func() { _ = f.Close() }()
	if err := reserve(f, size); err != nil {
		return cannot("reserve", name, err)
	}
	if err := f.Sync(); err != nil {
		return cannot("reserve", name, err)
	}
	return nil
}

// reserve allocates so many bytes for a file. If there is too little room, it frees what
// it has got.
func reserve(f *os.File, size int64) error {
	room, err := free(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	has, err := allocated(f)
	if err != nil {
		return err
	}
	if missing := size - has; missing > room {
		return fmt.Errorf("%d MB are missing, and %d MB are free: %w", up(missing), room/megabyte, unix.ENOSPC)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return err
	}
	return unix.Fsetxattr(int(f.Fd()), reservedAttribute, []byte("1"), 0)
}

// reservedAttribute marks a device whose room is all reserved. The allocated size does
// not show that: a device without any zeros takes as much.
const reservedAttribute = "user.albatross.reserved"

// isReserved reports whether a device is marked as reserved.
func isReserved(f *os.File) bool {
	_, err := unix.Fgetxattr(int(f.Fd()), reservedAttribute, make([]byte, 8))
	return err == nil
}

// allocated returns how many bytes a file takes on disk.
func allocated(f *os.File) (int64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return 0, err
	}
	return stat.Blocks * 512, nil
}

// free returns how many bytes the file system of a directory still has for us.
func free(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * stat.Frsize, nil
}

// up converts bytes to MB, rounded up.
func up(bytes int64) int64 { return (bytes + megabyte - 1) / megabyte }

// Room returns how many MB can be written to devices that have no room reserved.
func (d *Dir) Room() (int64, error) {
	room, err := free(d.path)
	if err != nil {
		return 0, fmt.Errorf("cannot ask for the room on the disk of block devices: %w", err)
	}
	return room / megabyte, nil
}

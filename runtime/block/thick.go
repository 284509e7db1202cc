package block

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// Reserve has the file system keep room for all of a device, whatever is in it. One
// that has all its room keeps it when it gets new contents.
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

// reserve has a file keep room for so many bytes. What it has got where there is too
// little is given back.
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

// reservedAttribute is there where a device has all its room. How much it takes does
// not tell that: one without any zeros takes as much.
const reservedAttribute = "user.albatross.reserved"

// isReserved tells whether a device has been reserved.
func isReserved(f *os.File) bool {
	_, err := unix.Fgetxattr(int(f.Fd()), reservedAttribute, make([]byte, 8))
	return err == nil
}

// allocated is how many bytes a file takes on disk.
func allocated(f *os.File) (int64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return 0, err
	}
	return stat.Blocks * 512, nil
}

// free is how many bytes the file system of a directory can still give us.
func free(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * stat.Frsize, nil
}

// up is in MB, and no less than it is.
func up(bytes int64) int64 { return (bytes + megabyte - 1) / megabyte }

// Room is how many MB can be written to devices that have no room of their own yet.
func (d *Dir) Room() (int64, error) {
	room, err := free(d.path)
	if err != nil {
		return 0, fmt.Errorf("cannot ask for the room on the disk of block devices: %w", err)
	}
	return room / megabyte, nil
}

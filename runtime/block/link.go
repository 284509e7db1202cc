package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A device may be a symbolic link that the operator has made. It must lead to a regular
// file of root, or of the user of the daemon. The operator is responsible for who can
// change anything else on the way.

// newSuffix ends the name of the file that replaces the target of a link. It is beside
// the target, since a rename cannot cross file systems.
const newSuffix = ".albatross-new"

// follow returns the path of the file of a device, following its link.
func (d *Dir) follow(name string) (path string, linked bool, err error) {
	path = filepath.Join(d.path, name)
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, false, err
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path, true, fmt.Errorf("it is a symbolic link that leads nowhere: %v", plain(err)) // not as one that is gone
	}
	info, err = os.Lstat(target)
	if err != nil {
		return path, true, plain(err)
	}
	return target, true, checkLinked(info)
}

// checkLinked refuses a link target that cannot be a device.
func checkLinked(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("it is a symbolic link to what is not a regular file")
	case !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return errors.New("it is a symbolic link to a file of another user")
	}
	return nil
}

// plain returns an error without the paths of the host.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Package block owns the files that are the block devices of the host.
//
// A device is a sparse file of a whole number of MB in one directory. Its file name is
// the full name of the device. Native albatross keeps its devices in the same way, so an
// operator can change from one to the other, and back.
//
// Two promises hold through a full disk, a client that leaves, and a power cut. A device
// exists with its whole size or not at all; and its contents are all old or all new. So
// new contents go to a temporary file, which is fsynced and renamed; then the directory
// is fsynced. The price is room for old and new contents at the same time.
//
// The package opens regular files only. A symbolic link to one of the right owner is a
// device, too: a set writes the file that it leads to, a removal removes the link. The
// caller decides who may use a device, and that nobody else does meanwhile.
package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
)

const (
	megabyte = 1 << 20
	// copySize is how much of a device is in memory during a copy.
	copySize = 256 << 10
)

// A Dir is the directory of block devices. Its methods may be called concurrently.
type Dir struct {
	path string

	mu sync.Mutex // held while a temporary file is made or removed, and by Scan
	// files holds the names of files that Scan has found: native 2.5.0 did not fold them
	// to lower case.
	files map[messages.Name]string
	// writing holds the files with a temporary name, by that name.
	writing map[string]*os.File
}

// Open opens the directory at path, and creates it if necessary. A device whose file has
// upper-case letters in its name is known once Scan has found it.
func Open(path string) (*Dir, error) {
	err := os.MkdirAll(path, 0o750)
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path)) // the directory may be new
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open block devices in %s: %w", path, err)
	}
	return &Dir{path: path, files: map[messages.Name]string{}, writing: map[string]*os.File{}}, nil
}

// Path returns the file of a device, or the link to it. A name always contains a ':' and
// never a '/', so it is always a file in the directory, even though "." and ".." are
// labels.
func (d *Dir) Path(name messages.Name) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if file, ok := d.files[name]; ok {
		return filepath.Join(d.path, file)
	}
	return filepath.Join(d.path, name.String())
}

// Exists reports whether there is a file of a device, or a link to one. If that cannot be known, there
// is.
func (d *Dir) Exists(name messages.Name) bool {
	_, err := os.Lstat(d.Path(name))
	return !errors.Is(err, os.ErrNotExist)
}

// Remove removes a device; one that is gone already is no error. When it returns nil, the
// device does not come back after a power cut.
func (d *Dir) Remove(name messages.Name) error {
	if err := d.remove(name); err != nil {
		return cannot("remove", name, err)
	}
	return nil
}

func (d *Dir) remove(name messages.Name) error {
	path := d.Path(name)
	err := d.removable(path)
	if err == nil {
		err = os.Remove(path)
	}
	failpoint.Here("device/removed")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := durable.SyncDir(d.path); err != nil {
		return err
	}
	failpoint.Here("device/removal-synced")
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	return nil
}

// removable refuses a file that is no device.
func (d *Dir) removable(path string) error {
	path, _, err := d.follow(filepath.Base(path))
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return check(info)
}

// cannot returns the error of a failed operation. A tenant may read it, so it contains no
// path of the host.
func cannot(what string, name messages.Name, err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	return fmt.Errorf("cannot %s block device %s: %w", what, name, err)
}

// open opens the file of a device for reading, and returns its size in bytes.
func (d *Dir) open(name messages.Name) (f *os.File, size int64, linked bool, err error) {
	path, linked, err := d.follow(filepath.Base(d.Path(name)))
	if err != nil {
		return nil, 0, linked, err
	}
	// O_NONBLOCK: the open of a named pipe would block.
	f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, linked, err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(info)
	}
	if err == nil && linked {
		err = checkLinked(info)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, linked, err
	}
	return f, info.Size(), linked, nil
}

// check refuses a file that cannot be a device.
func check(info fs.FileInfo) error {
	switch size := info.Size(); {
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case size == 0 || size%megabyte != 0:
		return fmt.Errorf("its size of %d bytes is not one or more full MB", size)
	}
	return nil
}

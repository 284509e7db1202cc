// Package block owns the files that are the block devices of the host.
//
// A device is a sparse file of a whole number of MB in one directory, named
// with the text of the device's full name. Native albatross keeps its devices
// in the same way, so that they are taken over where they are, and left to it
// again by an operator who goes back.
//
// Two promises hold whatever happens, be it a full disk, a client that leaves
// or a power cut. A device is there with its whole size or not at all; and its
// contents are all old or all new. So new contents are written to a temporary
// file beside it, fsynced, get the name of the device, and then the directory
// is fsynced. The price is room for old and new contents at the same time.
//
// Nothing but a regular file is ever opened. A symbolic link to one of the right
// owner is a device, too: a set writes what it leads to, and a removal removes the
// link. Who may use a device, and that nobody else does meanwhile, is
// not decided here.
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
	// copySize is how much of a device is in memory while it is read or written.
	copySize = 256 << 10
)

// A Dir is the directory of block devices. Its methods may be called
// concurrently.
type Dir struct {
	path string

	mu sync.Mutex // held while a temporary file is made or removed, and by Scan
	// files are the names of files as Scan has found them: native 2.5.0 did not
	// fold them to lower case.
	files map[messages.Name]string
	// writing are the files that have a temporary name, by that name.
	writing map[string]*os.File
}

// Open opens the directory at path, and makes it if there is none. Devices whose
// file has upper-case letters in its name are known once Scan has found them.
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

// Path is where the device is, if it is there, or the link to it. A name always has a ':' in it
// and never a '/', so it is always a file in the directory, even though "." and
// ".." are labels.
func (d *Dir) Path(name messages.Name) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if file, ok := d.files[name]; ok {
		return filepath.Join(d.path, file)
	}
	return filepath.Join(d.path, name.String())
}

// Remove removes a device; that it is gone already is fine. When it returns
// nil, the device does not come back after a power cut.
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

// removable refuses what is no device.
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

// cannot is what is told of a device with which something did not work. It may
// reach a tenant, whom the paths of the host are no business of.
func cannot(what string, name messages.Name, err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	return fmt.Errorf("cannot %s block device %s: %w", what, name, err)
}

// open opens the file of a device for reading and tells its size in bytes.
func (d *Dir) open(name messages.Name) (f *os.File, size int64, linked bool, err error) {
	path, linked, err := d.follow(filepath.Base(d.Path(name)))
	if err != nil {
		return nil, 0, linked, err
	}
	// Without O_NONBLOCK, a named pipe would be waited for.
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

// check refuses what cannot be a device.
func check(info fs.FileInfo) error {
	switch size := info.Size(); {
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case size == 0 || size%megabyte != 0:
		return fmt.Errorf("its size of %d bytes is not one or more full MB", size)
	}
	return nil
}

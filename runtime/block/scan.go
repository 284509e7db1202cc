package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A Device is an existing block device.
type Device struct {
	Name messages.Name
	Size int // MB
}

// Scan finds the existing devices, whoever made them. It removes the temporary files that
// a crash has left, reports everything else in the directory as problems, and leaves it
// alone. It may be called at any time.
//
// A file whose name has upper-case letters is the device of that name in lower case, and
// keeps its own name, under which an older native albatross finds it. If the file in
// lower case exists, too, that one is the device.
func (d *Dir) Scan() (devices []Device, problems []error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot look for block devices: %w", err)
	}
	d.files = map[messages.Name]string{}
	used := map[inode]string{}
	for _, entry := range inOrder(entries) {
		switch device, err := d.look(entry, used); {
		case errors.Is(err, os.ErrNotExist): // removed meanwhile
		case err == errTemporary, err == errSpelling:
		case err != nil:
			problems = append(problems, fmt.Errorf("cannot use %s: %w", filepath.Join(d.path, entry.Name()), err))
		default:
			d.files[device.Name] = entry.Name()
			devices = append(devices, device)
		}
	}
	return devices, problems, nil
}

var (
	errTemporary = errors.New("a temporary file")
	errSpelling  = errors.New("a link from another spelling of its name")
)

// look returns the device of a directory entry, or why it is none. The caller holds mu.
func (d *Dir) look(entry fs.DirEntry, used map[inode]string) (Device, error) {
	if isTemporary(entry) {
		return Device{}, d.sweep(entry.Name())
	}
	name, err := parseFile(entry.Name())
	if err != nil {
		return Device{}, err
	}
	info, err := d.stat(entry.Name())
	if err != nil {
		return Device{}, err
	}
	if err := check(info); err != nil {
		return Device{}, err
	}
	if other, taken := d.files[name]; taken {
		if used[inodeOf(info)] == other { // for native albatross, see the client
			return Device{}, errSpelling
		}
		return Device{}, fmt.Errorf("%s is the block device of this name", other)
	}
	if other, taken := used[inodeOf(info)]; taken { // two unikernels would write to it
		return Device{}, fmt.Errorf("it is the same file as the block device %s", other)
	}
	used[inodeOf(info)] = entry.Name()
	return Device{Name: name, Size: int(info.Size() / megabyte)}, nil
}

// stat returns the file of a device, following a link, and removes what a crash may have
// left beside it. The caller holds mu.
func (d *Dir) stat(file string) (fs.FileInfo, error) {
	path, linked, err := d.follow(file)
	if err != nil {
		return nil, err
	}
	if leftover := path + newSuffix; linked && d.writing[leftover] == nil {
		if err := removeLeftover(leftover); err != nil {
			return nil, err
		}
	}
	return os.Lstat(path)
}

// An inode identifies a file, whatever its names are.
type inode struct{ device, number uint64 }

func inodeOf(info fs.FileInfo) inode {
	stat, _ := info.Sys().(*syscall.Stat_t) // always so on Linux
	return inode{uint64(stat.Dev), stat.Ino}
}

// inOrder sorts files before links to them, and of several spellings of a name the one in
// lower case first.
func inOrder(entries []fs.DirEntry) []fs.DirEntry {
	entries = slices.Clone(entries)
	slices.Reverse(entries)
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int {
		return int(a.Type()&fs.ModeSymlink) - int(b.Type()&fs.ModeSymlink)
	})
	return entries
}

// parseFile returns the name of the device in a file.
func parseFile(file string) (messages.Name, error) {
	name, err := messages.ParseName(file)
	if err != nil {
		return name, fmt.Errorf("it is not named as a block device: %w", err)
	}
	if name.String() != strings.ToLower(file) {
		return name, fmt.Errorf("it is not named as a block device: that would be %s", name)
	}
	return name, nil
}

// sweep removes a temporary file that nobody writes. The caller holds mu.
func (d *Dir) sweep(file string) error {
	if d.writing[file] == nil {
		if err := os.Remove(filepath.Join(d.path, file)); err != nil {
			return fmt.Errorf("it is temporary and cannot be removed: %w", err)
		}
		failpoint.Here("device/leftover-removed")
	}
	return errTemporary
}

package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A Device is a block device that is there.
type Device struct {
	Name messages.Name
	Size int // MB
}

// Scan finds the devices that are there, whoever made them. What else is there
// is told as problems and left alone, but for the temporary files that a crash
// has left behind: they are removed. Scan may be called at any time.
//
// A file whose name has upper-case letters is the device of that name in lower
// case, and keeps its own name, under which an older native albatross finds it.
// If there is one of the very name too, it is the device.
func (d *Dir) Scan() (devices []Device, problems []error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot look for block devices: %w", err)
	}
	d.files = map[messages.Name]string{}
	// Of several spellings of a name, the one in lower case sorts last and comes
	// first here.
	for _, entry := range slices.Backward(entries) {
		switch device, err := d.look(entry); {
		case errors.Is(err, os.ErrNotExist): // removed meanwhile
		case err == errTemporary:
		case err != nil:
			problems = append(problems, fmt.Errorf("cannot use %s: %w", filepath.Join(d.path, entry.Name()), err))
		default:
			d.files[device.Name] = entry.Name()
			devices = append(devices, device)
		}
	}
	return devices, problems, nil
}

var errTemporary = errors.New("a temporary file")

// look tells which device an entry of the directory is, or why it is none. It
// needs mu.
func (d *Dir) look(entry fs.DirEntry) (Device, error) {
	if isTemporary(entry) {
		return Device{}, d.sweep(entry.Name())
	}
	name, err := parseFile(entry.Name())
	if err != nil {
		return Device{}, err
	}
	info, err := entry.Info()
	if err != nil {
		return Device{}, err
	}
	if err := check(info); err != nil {
		return Device{}, err
	}
	if other, taken := d.files[name]; taken {
		return Device{}, fmt.Errorf("%s is the block device of this name", other)
	}
	return Device{Name: name, Size: int(info.Size() / megabyte)}, nil
}

// parseFile is the name of the device that is in a file.
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

// sweep removes a temporary file, unless it is being written. It needs mu.
func (d *Dir) sweep(file string) error {
	if d.writing[file] == nil {
		if err := os.Remove(filepath.Join(d.path, file)); err != nil {
			return fmt.Errorf("it is temporary and cannot be removed: %w", err)
		}
		failpoint.Here("device/leftover-removed")
	}
	return errTemporary
}

package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
)

// ErrTooLarge says that the contents are larger than the device.
var ErrTooLarge = errors.New("the contents are larger than the device")

// errExists is about a file that Scan has reported as a problem, or that appeared since:
// a client cannot do anything about it.
var errExists = fmt.Errorf("%w, which the operator of the host has to move away", os.ErrExist)

const (
	// maxSize is the largest size in MB that is still an int64 in bytes.
	maxSize = math.MaxInt64 / megabyte
	// temporaryPrefix begins the name of a file that is no device yet; digits follow. No
	// label contains a '_', so it is the name of no device, also for native albatross.
	temporaryPrefix = "tmp_"
)

// Create makes a device of size MB with the contents, or of zeros if those are nil. When
// it returns nil, the device is on disk; otherwise nothing of it is. It reads contents as
// Set does. It never replaces an existing file of any kind.
func (d *Dir) Create(ctx context.Context, name messages.Name, size int, contents io.Reader) error {
	if err := d.create(ctx, name, size, contents); err != nil {
		return cannot("create", name, err)
	}
	return nil
}

func (d *Dir) create(ctx context.Context, name messages.Name, size int, contents io.Reader) error {
	if size < 1 || size > maxSize {
		return fmt.Errorf("a size of %d MB is not between 1 and %d", size, maxSize)
	}
	if contents == nil {
		contents = strings.NewReader("")
	}
	path := d.Path(name)
	// Before the contents are read.
	if _, err := os.Lstat(path); err == nil {
		return errExists
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return d.write(ctx, int64(size)*megabyte, contents, d.createTemporary, func(temporary string) error {
		return d.link(temporary, path)
	})
}

// link gives a file the name of a new device, and never replaces an existing one. (Not
// every file system can do that by renaming.)
func (d *Dir) link(temporary, path string) error {
	err := os.Link(temporary, path)
	if errors.Is(err, os.ErrExist) {
		return errExists
	}
	if err != nil {
		return err
	}
	failpoint.Here("device/linked")
	if err := durable.SyncDir(d.path); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	failpoint.Here("device/link-synced")
	return nil
}

// Set replaces the contents of a device, and fills the rest with zeros. The contents end
// with io.EOF. The device keeps its old contents after any other error, after
// ErrTooLarge, and if ctx is done. Only if the very last step fails, the fsync of the
// directory, it may have either.
//
// Set checks ctx between reads: whoever feeds a blocking reader must end it with an
// error. The returned error wraps an error of contents.
func (d *Dir) Set(ctx context.Context, name messages.Name, contents io.Reader) error {
	if err := d.set(ctx, name, contents); err != nil {
		return cannot("set", name, err)
	}
	return nil
}

func (d *Dir) set(ctx context.Context, name messages.Name, contents io.Reader) error {
	old, size, linked, err := d.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	create := d.createTemporary
	if linked {
		create = func() (*os.File, error) { return d.createBeside(old.Name()) }
	}
	if isReserved(old) {
		create = d.reserved(create, size)
	}
	return d.write(ctx, size, contents, create, func(temporary string) error {
		if err := os.Rename(temporary, old.Name()); err != nil {
			return err
		}
		failpoint.Here("device/renamed")
		return durable.SyncDir(filepath.Dir(old.Name()))
	})
}

// reserved returns a function that makes files like create, with so many bytes allocated.
func (d *Dir) reserved(create func() (*os.File, error), size int64) func() (*os.File, error) {
	return func() (*os.File, error) {
		f, err := create()
		if err != nil {
			return nil, err
		}
		if err := reserve(f, size); err != nil {
			d.finish(f)
			return nil, err
		}
		return f, nil
	}
}

// write writes contents into a file of size bytes and fsyncs it; then place gives it its
// name.
func (d *Dir) write(
	ctx context.Context, size int64, contents io.Reader, create func() (*os.File, error), place func(temporary string) error,
) error {
	f, err := create()
	if err != nil {
		return err
	}
	defer d.finish(f)
	if err := fill(ctx, f, size, contents); err != nil {
		return err
	}
	failpoint.Here("device/filled")
	if err := f.Sync(); err != nil {
		return err
	}
	failpoint.Here("device/synced")
	if err := ctx.Err(); err != nil {
		return err
	}
	return place(f.Name())
}

// createTemporary makes a file that only we may read.
func (d *Dir) createTemporary() (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := os.CreateTemp(d.path, temporaryPrefix) // its mode is 0600
	if err == nil {
		d.writing[filepath.Base(f.Name())] = f
	}
	failpoint.Here("device/temporary-made")
	return f, err
}

// createBeside makes the file that is going to replace the target of a link. An existing
// one of its name is left from a crash.
func (d *Dir) createBeside(path string) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path += newSuffix
	if err := removeLeftover(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		d.writing[path] = f
	}
	return f, err
}

func removeLeftover(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("what a former set has left behind beside its file is none of ours")
	}
	return os.Remove(path)
}

// finish closes a file and removes its temporary name. Scan removes what finish cannot.
func (d *Dir) finish(f *os.File) {
	// The contents have been fsynced. Close comes last, without mu, since to free a large
	// file may take a while.
	defer func() { _ = f.Close() }()
	d.mu.Lock()
	defer d.mu.Unlock()
	// After a rename, the old name may already be that of another file.
	for _, name := range []string{filepath.Base(f.Name()), f.Name()} { // see createTemporary, createBeside
		if d.writing[name] == f {
			delete(d.writing, name)
			_ = os.Remove(f.Name())
			failpoint.Here("device/temporary-removed")
		}
	}
}

// isTemporary reports whether an entry is a file of createTemporary.
func isTemporary(entry fs.DirEntry) bool {
	digits, ok := strings.CutPrefix(entry.Name(), temporaryPrefix)
	return ok && digits != "" && strings.Trim(digits, "0123456789") == "" && entry.Type().IsRegular()
}

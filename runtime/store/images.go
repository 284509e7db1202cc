package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
)

const (
	// ImageDir is the name of the image store in the database directory.
	ImageDir = "images"
	// temporaryPrefix begins the name of an image whose hash is not known yet.
	temporaryPrefix = "tmp-"
	// imageMode: nobody changes an image, and only a tender reads it.
	imageMode = 0o400
	// copySize is how much of an image is in memory while it is stored.
	copySize = 256 << 10
)

// ErrTooLarge refuses an image that is larger than allowed.
var ErrTooLarge = errors.New("it is too large")

// Images is the image store: every image once, under the hash of its contents. Its
// methods may be called concurrently. What it opens has the contents that were stored:
// see verify.
//
// Collect removes images that nothing refers to. A pin protects an image until something
// refers to it. Pins are in memory only, since a crash ends whatever holds them.
// nobody is about to do anything.
type Images struct {
	dir  string
	pins pins

	mu sync.Mutex // held while an image gets its name or loses it
	// writing holds the temporary names in use.
	writing map[string]bool
	// verified holds the files whose contents are known to be those of the image.
	verified map[messages.Digest]stamp

	sealsNothing atomic.Bool // the kernel or the file system cannot; see seal
}

// OpenImages opens the image store in a database directory, and creates it if necessary.
func OpenImages(dir string) (*Images, error) {
	i := &Images{
		dir:      filepath.Join(dir, ImageDir),
		pins:     pins{count: map[messages.Digest]int{}},
		writing:  map[string]bool{},
		verified: map[messages.Digest]stamp{},
	}
	err := os.MkdirAll(i.dir, 0o750)
	if err == nil {
		err = durable.SyncDir(dir) // the directory may be new
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open image store %s: %w", i.dir, err)
	}
	failpoint.Here("image/store-opened")
	return i, nil
}

// Path returns where an image is, if it exists.
func (i *Images) Path(d messages.Digest) string { return filepath.Join(i.dir, d.String()) }

// Open opens an image and returns its size. It returns ErrDamaged if the file has other
// contents.
func (i *Images) Open(d messages.Digest) (*os.File, int64, error) {
	f, err := os.OpenFile(i.Path(d), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open image: %w", messages.WithoutPath(err))
	}
	info, err := f.Stat()
	if err == nil {
		err = i.verify(f, d)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("cannot open image: %w", messages.WithoutPath(err))
	}
	return f, info.Size(), nil
}

// Add stores the contents of r, up to its end, and pins the image. When it returns no
// error, the image is on disk; otherwise nothing of it is. The error wraps an error of r.
func (i *Images) Add(r io.Reader, limit int64) (messages.Digest, int64, error) {
	d, size, err := i.add(r, limit)
	if err != nil {
		return messages.Digest{}, 0, fmt.Errorf("cannot store image: %w", messages.WithoutPath(err))
	}
	return d, size, nil
}

// AddBytes is Add for an image in memory. It does not write an existing image again: even
// a file that is removed at once would cost its fsync, with the next one of the
// directory.
func (i *Images) AddBytes(image []byte) (messages.Digest, error) {
	d := messages.Digest(sha256.Sum256(image))
	if err := i.addHashed(d, image); err != nil {
		return messages.Digest{}, fmt.Errorf("cannot store image: %w", messages.WithoutPath(err))
	}
	return d, nil
}

func (i *Images) addHashed(d messages.Digest, image []byte) error {
	if i.pinThere(d) {
		return i.syncPinned(d)
	}
	_, _, err := i.write(func(f *os.File) (messages.Digest, int64, error) {
		n, err := f.Write(image)
		return d, int64(n), err
	})
	return err
}

func (i *Images) add(r io.Reader, limit int64) (messages.Digest, int64, error) {
	return i.write(func(f *os.File) (messages.Digest, int64, error) { return copyHashed(f, r, limit) })
}

// write makes contents write an image to a file, and moves that to its place.
func (i *Images) write(contents func(*os.File) (messages.Digest, int64, error)) (messages.Digest, int64, error) {
	f, err := i.createTemporary()
	if err != nil {
		return messages.Digest{}, 0, err
	}
	defer i.finish(f)
	d, size, err := contents(f)
	if err != nil {
		return d, 0, err
	}
	failpoint.Here("image/written")
	if err := i.settle(f, d); err != nil {
		return d, 0, err
	}
	return d, size, i.syncPinned(d)
}

// syncPinned fsyncs the name of an image, also of an existing one: whoever stored it may
// not have reached this step yet.
func (i *Images) syncPinned(d messages.Digest) error {
	if err := durable.SyncDir(i.dir); err != nil {
		i.Unpin(d)
		return err
	}
	failpoint.Here("image/directory-synced")
	return nil
}

func (i *Images) createTemporary() (*os.File, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f, err := os.CreateTemp(i.dir, temporaryPrefix)
	if err == nil {
		i.writing[filepath.Base(f.Name())] = true
	}
	failpoint.Here("image/temporary-made")
	return f, err
}

// finish closes a file, and removes it unless it has got its final name. Collect removes
// what finish cannot.
func (i *Images) finish(f *os.File) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if name := filepath.Base(f.Name()); i.writing[name] {
		delete(i.writing, name)
		_ = os.Remove(f.Name())
		failpoint.Here("image/temporary-removed")
	}
	_ = f.Close() // what matters was fsynced
}

func copyHashed(f *os.File, r io.Reader, limit int64) (d messages.Digest, size int64, err error) {
	hash := sha256.New()
	// Structs, so that neither side copies in its own way.
	to := struct{ io.Writer }{io.MultiWriter(hash, f)}
	oneMore := struct{ io.Reader }{io.LimitReader(r, min(limit, math.MaxInt64-1)+1)}
	size, err = io.CopyBuffer(to, oneMore, make([]byte, copySize))
	switch {
	case err != nil:
		return d, size, err
	case size > limit:
		return d, size, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	hash.Sum(d[:0])
	return d, size, nil
}

// settle gives an image its name and pins it, in one step for Collect. It is on disk
// before it has its name.
func (i *Images) settle(f *os.File, d messages.Digest) error {
	if i.pinThere(d) {
		return nil
	}
	if err := f.Chmod(imageMode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	failpoint.Here("image/synced")
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := os.Rename(f.Name(), i.Path(d)); err != nil {
		return err
	}
	failpoint.Here("image/renamed")
	i.noteVerified(f, d)
	delete(i.writing, filepath.Base(f.Name()))
	i.pins.add(d)
	return nil
}

// pinThere pins an image that exists. A damaged one is to be replaced.
func (i *Images) pinThere(d messages.Digest) bool {
	if i.Pin(d) != nil {
		return false
	}
	f, _, err := i.Open(d)
	if err != nil {
		i.Unpin(d)
		return false
	}
	_ = f.Close()
	return true
}

// Pin keeps an existing image from being removed.
func (i *Images) Pin(d messages.Digest) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, err := os.Lstat(i.Path(d)); err != nil {
		return fmt.Errorf("cannot find image: %w", messages.WithoutPath(err))
	}
	i.pins.add(d)
	return nil
}

// Unpin ends one Pin or Add. The image stays until it is collected. Unpin does not wait
// for the disk.
func (i *Images) Unpin(d messages.Digest) {
	i.pins.drop(d)
}

// Collect removes every image that is neither kept nor pinned, and unfinished ones that a
// crash has left. It returns how many images it has removed, and goes on after an error.
//
// A caller must not unpin an image before keep returns true for it, so keep must not use
// a copy of the references that is older than this call. No image gets a pin while keep
// runs, so keep must not call Images.
func (i *Images) Collect(keep func(messages.Digest) bool) (removed int, err error) {
	entries, err := os.ReadDir(i.dir)
	if err != nil {
		return 0, fmt.Errorf("cannot collect images: %w", err)
	}
	var failed []error
	for _, entry := range entries {
		was, err := i.collect(entry.Name(), keep)
		if err != nil {
			failed = append(failed, fmt.Errorf("cannot collect image: %w", err))
		}
		if was {
			removed++
		}
	}
	return removed, errors.Join(failed...)
}

// collect removes one file if it is to go; files that are not ours stay.
func (i *Images) collect(name string, keep func(messages.Digest) bool) (removed bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if strings.HasPrefix(name, temporaryPrefix) && !i.writing[name] {
		_, err := i.remove(name)
		return false, err
	}
	d, ok := parseDigest(name)
	if !ok || i.pins.hold(d) || keep(d) {
		return false, nil
	}
	return i.remove(name)
}

// Remove removes an image unless it is pinned, kept or missing, and reports whether it did.
// For keep, the same holds as for that of Collect.
func (i *Images) Remove(d messages.Digest, keep func(messages.Digest) bool) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pins.hold(d) || keep(d) {
		return false, nil
	}
	removed, err := i.remove(d.String())
	if err != nil {
		return false, fmt.Errorf("cannot remove image: %w", err)
	}
	return removed, nil
}

// remove needs mu. It does not fsync the directory: an image that comes back after a
// power cut is collected once more.
func (i *Images) remove(name string) (bool, error) {
	if d, ok := parseDigest(name); ok {
		delete(i.verified, d)
	}
	err := os.Remove(filepath.Join(i.dir, name))
	failpoint.Here("image/removed")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// parseDigest parses what Digest.String writes, and no other spelling.
func parseDigest(name string) (d messages.Digest, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(d) {
		return d, false
	}
	copy(d[:], b)
	return d, d.String() == name
}

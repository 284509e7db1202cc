package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// ErrDamaged refuses an image whose file has other contents than were stored.
var ErrDamaged = errors.New("its contents on disk are not those that were stored: create the unikernel again, with its image")

// A stamp changes when somebody writes to a file, or replaces it.
type stamp struct {
	device, inode uint64
	size          int64
	changed       unix.Timespec
}

func stampOf(f *os.File) (s stamp, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return s, err
	}
	return stamp{uint64(stat.Dev), stat.Ino, stat.Size, stat.Ctim}, nil
}

// verify checks that a file has the contents of an image. It reads them unless that was
// done before and the file has not changed since.
func (i *Images) verify(f *os.File, d messages.Digest) error {
	before, err := stampOf(f)
	if err != nil || i.isVerified(d, before) {
		return err
	}
	hash := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{hash}, struct{ io.Reader }{f}, make([]byte, copySize))
	switch {
	case errors.Is(err, unix.EIO): // of the disk, or the kernel has found what seal is for
		return ErrDamaged
	case err != nil:
		return err
	case messages.Digest(hash.Sum(nil)) != d:
		return ErrDamaged
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.verified[d] = before // a change during the read changes the stamp
	return nil
}

func (i *Images) isVerified(d messages.Digest, s stamp) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.verified[d] == s
}

// noteVerified notes that a file has the contents that were hashed while it was written.
// It needs mu.
func (i *Images) noteVerified(f *os.File, d messages.Digest) {
	if s, err := stampOf(f); err == nil { // otherwise it is read once more
		i.verified[d] = s
	}
}

// Verify reads the images whose contents were not verified yet, one after the other, so
// that no client has to wait for that, and seals them. It returns an error for each that is
// damaged or cannot be read.
func (i *Images) Verify(ctx context.Context, digests []messages.Digest) (errs []error) {
	for _, d := range digests {
		if ctx.Err() != nil {
			return errs
		}
		if err := i.verifyAndSeal(d); err != nil {
			errs = append(errs, fmt.Errorf("image %v: %w", d, err))
		}
	}
	return errs
}

func (i *Images) verifyAndSeal(d messages.Digest) error {
	f, _, err := i.Open(d)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return i.seal(f, d)
}

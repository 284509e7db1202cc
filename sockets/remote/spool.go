package remote

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"albatross/sockets/wire"
)

// SpoolLimits are about incomplete images.
type SpoolLimits struct {
	Files int   // at once
	Bytes int64 // of all of them
	Image int64 // of each
}

// DefaultSpool suits images of a few dozen MB. The largest image is what fits into a
// frame, with 1 MB for the rest of the command.
var DefaultSpool = SpoolLimits{Files: 64, Bytes: 4 << 30, Image: wire.MaxFrame - wire.MaxCommand}

// A Spool holds images until they are complete: the length of a command precedes its
// first byte. Its files have no names, so that nothing can be left behind.
type Spool struct {
	dir    string
	limits SpoolLimits
	files  *semaphore.Weighted

	mu   sync.Mutex
	left int64
}

// OpenSpool returns a spool in a directory, whose file system must support files without
// names.
func OpenSpool(dir string, limits SpoolLimits) (*Spool, error) {
	f, err := openUnnamed(dir)
	if err != nil {
		return nil, err
	}
	return &Spool{dir: dir, limits: limits, files: semaphore.NewWeighted(int64(limits.Files)), left: limits.Bytes}, f.Close()
}

func openUnnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot make a temporary file in %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

var (
	errSpoolBusy = errors.New("too many images are being received: try again later")
	errSpoolFull = errors.New("there is no room for the image: try again later")
)

// A spooled is a complete image.
type spooled struct {
	*os.File // at its beginning
	size     int64
	spool    *Spool
	held     int64
}

// spoolPart is how much room is reserved at once.
const spoolPart = 1 << 20

// take reads all of an image. The error is the reader's, or a refusal.
func (s *Spool) take(image io.Reader) (*spooled, error) {
	if !s.files.TryAcquire(1) {
		return nil, refusal{errSpoolBusy}
	}
	f, err := openUnnamed(s.dir)
	if err != nil {
		s.files.Release(1)
		return nil, refusal{errSpoolFull}
	}
	t := &spooled{File: f, spool: s}
	if err := t.fill(image); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// fill writes the image to the file, and goes back to its beginning.
func (s *spooled) fill(image io.Reader) error {
	buffer := make([]byte, recordSize)
	for {
		n, err := image.Read(buffer)
		if n > 0 {
			if err := s.append(buffer[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err := s.Seek(0, io.SeekStart)
	return err
}

func (s *spooled) append(b []byte) error {
	s.size += int64(len(b))
	if s.size > s.spool.limits.Image {
		return refusal{fmt.Errorf("the image is larger than %d bytes", s.spool.limits.Image)}
	}
	if s.size > s.held {
		if !s.spool.reserve(spoolPart) {
			return refusal{errSpoolFull}
		}
		s.held += spoolPart
	}
	if _, err := s.Write(b); err != nil {
		return refusal{errSpoolFull} // without the path, since clients read it
	}
	return nil
}

// Close removes the file.
func (s *spooled) Close() error {
	s.spool.release(s.held)
	s.spool.files.Release(1)
	return s.File.Close()
}

func (s *Spool) reserve(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left < n {
		return false
	}
	s.left -= n
	return true
}

func (s *Spool) release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left += n
}

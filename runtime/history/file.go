package history

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
)

const (
	// chunk is how much is taken out of a pipe at once.
	chunk = 64 << 10
	// maxSize is the size at which a file is replaced by one with the remembered lines
	// only, which need at most about a third of it.
	maxSize = 3 << 19
	// maxRead is the largest size that a file can reach.
	maxRead = maxSize + headerSize + chunk
)

// A file consists of frames up to end. What follows is ignored.
type file struct {
	*os.File
	end   int64
	named atomic.Bool // its name is on disk

	// For readers, who do not have the lock of the log; see show.
	first int          // the number of its first line
	next  atomic.Int64 // the number of the line after the last one that is read from here
	shown atomic.Int64 // the frames up to here hold all lines before that
}

// show lets readers have what was written, up to a line. It ends with the frames for those
// lines, so the number comes last.
func (f *file) show(next int) {
	f.shown.Store(f.end)
	f.next.Store(int64(next))
}

// openFile opens a file, or creates it if flags contain os.O_CREATE. It returns
// os.ErrNotExist if the file does not exist and cannot be created.
func openFile(path string, flags int) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return nil, os.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &file{File: f, end: min(info.Size(), maxRead)}, nil
}

// read returns what the file remembers. It is not whole if a crash, or somebody else, has
// left bytes in it that are no frame.
func (f *file) read() (t *tail, whole bool, err error) {
	t = &tail{}
	there := &io.LimitedReader{R: io.NewSectionReader(f, 0, f.end), N: f.end}
	whole, err = t.readFrom(there)
	if err != nil {
		return nil, false, err
	}
	return t, whole && there.N == 0, nil
}

// write appends a frame.
func (f *file) write(raw []byte, at time.Time) error {
	n, err := f.WriteAt(appendFrame(nil, raw, at), f.end)
	if err == nil {
		f.end += int64(n)
	}
	return err
}

// splice moves at most size bytes out of a pipe and appends them as a frame. It writes
// the header first, so that at every moment the bytes are in the pipe or in a frame. It
// may return an error together with bytes moved.
func (f *file) splice(pipe, size int, at time.Time) (moved int, err error) {
	if _, err := f.WriteAt(appendHeader(nil, size, at), f.end); err != nil {
		return 0, err
	}
	failpoint.Here("history/frame-begun")
	start := f.end + headerSize
	moved, err = splice(pipe, int(f.Fd()), start, size)
	if moved == 0 { // the next header overwrites this one
		return 0, err
	}
	if moved < size {
		_, err = f.WriteAt(appendHeader(nil, moved, at), f.end)
	}
	f.end = start + int64(moved)
	return moved, err
}

// splice moves at most size bytes from a pipe to an offset of a file.
func splice(pipe, file int, offset int64, size int) (int, error) {
	for {
		n, err := unix.Splice(pipe, nil, file, &offset, size, unix.SPLICE_F_NONBLOCK)
		switch err {
		case nil:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN: // somebody else has read it
			return 0, nil
		default:
			return 0, os.NewSyscallError("splice", err)
		}
	}
}

// midLine reports whether the last line is incomplete. If that cannot be read, it may be.
func (f *file) midLine() bool {
	var last [1]byte
	_, err := f.ReadAt(last[:], max(0, f.end-1))
	return f.end > 0 && (err != nil || last[0] != '\n')
}

// replaceFile replaces a file, so that a crash at any time leaves the old or the new one.
// The new one is on disk before it gets its name.
func replaceFile(path, temporary string, frames []byte) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(frames)
	if err == nil {
		err = durable.Rename(f, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), unlink(f.Name()))
	}
	return &file{File: f, end: int64(len(frames))}, nil
}

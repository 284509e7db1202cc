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
	// maxSize is from when on a file is replaced by one that has only what is
	// remembered, which is about a third of it at most.
	maxSize = 3 << 19
	// maxRead is the largest that we let a file become.
	maxRead = maxSize + headerSize + chunk
)

// A file has frames up to end, and there is nothing behind them that matters.
type file struct {
	*os.File
	end   int64
	named atomic.Bool // its name is on disk
}

// openFile opens a file, or makes it with os.O_CREATE among the flags. The error
// is os.ErrNotExist where there is none and cannot be one.
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

// read returns what the file remembers. It is not whole where a crash, or somebody
// else, has left it with what is no frame.
func (f *file) read() (t *tail, whole bool, err error) {
	data := make([]byte, f.end)
	n, err := f.ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	t = &tail{}
	return t, t.read(data[:n]) && n == len(data), nil
}

// write appends a frame.
func (f *file) write(raw []byte, at time.Time) error {
	n, err := f.WriteAt(appendFrame(nil, raw, at), f.end)
	if err == nil {
		f.end += int64(n)
	}
	return err
}

// splice appends a frame of at most size bytes that it moves out of a pipe. The
// header comes first, so that there is no moment at which the bytes are nowhere,
// or nobody knows what they are. An error may come with bytes that were moved.
func (f *file) splice(pipe, size int, at time.Time) (moved int, err error) {
	if _, err := f.WriteAt(appendHeader(nil, size, at), f.end); err != nil {
		return 0, err
	}
	failpoint.Here("history/frame-begun")
	start := f.end + headerSize
	moved, err = splice(pipe, int(f.Fd()), start, size)
	if moved == 0 { // the next header takes the place of this one
		return 0, err
	}
	if moved < size {
		_, err = f.WriteAt(appendHeader(nil, moved, at), f.end)
	}
	f.end = start + int64(moved)
	return moved, err
}

// splice moves what is in a pipe, at most size bytes, to an offset of a file.
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

// midLine reports whether the last line has not ended. Where that cannot be read, it
// may have.
func (f *file) midLine() bool {
	var last [1]byte
	_, err := f.ReadAt(last[:], max(0, f.end-1))
	return f.end > 0 && (err != nil || last[0] != '\n')
}

// replaceFile puts a file in the place of another, so that a crash at any time
// leaves the one or the other. It is on disk when it gets its name.
func replaceFile(path string, frames []byte) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporaryPrefix)
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

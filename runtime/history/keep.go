package history

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Where output is kept: in the file, or in memory while the file cannot be written. All
// of this needs the lock of the log.

// move takes at most size bytes out of a pipe, and returns them in raw.
func (l *Log) move(pipe, size int, at time.Time) (n int, raw []byte, err error) {
	l.open(os.O_CREATE)
	if l.memory == nil && !l.dir.copies.Load() {
		if n, raw, ok := l.splice(pipe, size, at); ok {
			return n, raw, nil
		}
	}
	return l.copy(pipe, size, at)
}

// splice moves bytes from a pipe to the file in one step. If it returns not ok, it has
// moved nothing.
func (l *Log) splice(pipe, size int, at time.Time) (n int, raw []byte, ok bool) {
	n, err := l.file.splice(pipe, size, at)
	if n > 0 && !l.deaf {
		raw = l.readBack(n)
	}
	switch {
	case errors.Is(err, unix.EINVAL):
		if !l.dir.copies.Swap(true) {
			l.onError(fmt.Errorf("cannot write console history in one step: %w; a daemon that is killed may lose a line here", err))
		}
	case err != nil:
		l.fail(err)
	}
	return n, raw, n > 0 || err == nil
}

// readBack returns the last n bytes of the file.
func (l *Log) readBack(n int) []byte {
	raw := l.room(n)
	if _, err := l.file.ReadAt(raw, l.file.end-int64(n)); err != nil {
		l.report(err)
		return nil
	}
	return raw
}

// copy moves bytes from a pipe in two steps.
func (l *Log) copy(pipe, size int, at time.Time) (n int, raw []byte, err error) {
	raw = l.room(size)
	for {
		n, err = unix.Read(pipe, raw)
		switch err {
		case nil:
			l.append(raw[:n], at)
			return n, raw[:n], nil
		case unix.EINTR:
		case unix.EAGAIN: // somebody else has read it
			return 0, nil, nil
		default:
			return 0, nil, os.NewSyscallError("read", err)
		}
	}
}

// room returns a buffer, valid until the next bytes are taken.
func (l *Log) room(n int) []byte {
	if len(l.buffer) < n {
		l.buffer = make([]byte, n)
	}
	return l.buffer[:n]
}

// append keeps bytes.
func (l *Log) append(raw []byte, at time.Time) {
	l.open(os.O_CREATE)
	if l.memory == nil {
		err := l.file.write(raw, at)
		if err == nil {
			return
		}
		l.fail(err)
	}
	l.memory.feed(raw, at)
}

// open opens the file at the first call. Without os.O_CREATE there may be none. It
// replaces a large one, and one that a crash has left with broken frames.
func (l *Log) open(flags int) {
	if l.file != nil || l.memory != nil {
		return
	}
	f, err := openFile(l.path, flags)
	if flags == 0 && errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.use(f)
	t, whole, err := l.read()
	if err != nil {
		l.fail(err)
		return
	}
	l.splitter = t.splitter.clone()
	f.first = l.Next() - t.count
	f.show(l.Next())
	if !whole || f.end >= maxSize {
		l.replace(t)
	}
}

func (l *Log) read() (t *tail, whole bool, err error) {
	defer l.dir.work()()
	return l.file.read()
}

// compact replaces a file that has become large.
func (l *Log) compact() {
	if l.memory != nil || l.file == nil || l.file.end < maxSize {
		return
	}
	t, _, err := l.read()
	if err != nil {
		l.fail(err)
		return
	}
	l.replace(t)
}

// replace continues in a new file with the same contents, or in memory.
func (l *Log) replace(t *tail) {
	if err := l.write(t); err != nil {
		l.memory = t
		l.report(err)
	}
}

// write makes a new file.
func (l *Log) write(t *tail) error {
	defer l.dir.work()()
	f, err := replaceFile(l.path, l.dir.prefix, t.frames())
	if err == nil {
		f.first = l.Next() - len(t.lines)
		f.show(l.Next())
		l.use(f)
	}
	return err
}

// fail continues in memory, with the contents of the file; if it cannot be read, without
// them.
func (l *Log) fail(err error) {
	l.report(err)
	if errors.Is(err, unix.ENOSPC) {
		l.dir.backlog.clear()
	}
	l.memory = &tail{}
	if l.file == nil {
		return
	}
	t, _, err := l.read()
	if err != nil {
		l.use(nil)
		return
	}
	l.memory = t
}

// restore continues in the file again, if it can.
func (l *Log) restore() {
	if l.memory == nil {
		return
	}
	t, err := l.merged()
	if err == nil {
		err = l.write(t)
	}
	if err != nil {
		l.report(err)
		return
	}
	l.memory = nil
}

// merged returns the contents of a file that was unreadable, followed by those of
// memory.
func (l *Log) merged() (*tail, error) {
	if l.file != nil || len(l.memory.lines) >= Lines {
		return l.memory, nil
	}
	f, err := openFile(l.path, 0)
	if errors.Is(err, os.ErrNotExist) {
		return l.memory, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	t, _, err := f.read()
	if err == nil {
		t.read(l.memory.frames())
	}
	return t, err
}

// use alone sets the file. The former one stays as long as readers need it, if another one
// takes its place.
func (l *Log) use(f *file) {
	former := l.file
	l.file = f
	switch {
	case former == nil:
	case f == nil:
		_ = former.Close() // what has to be on disk was synced
	default:
		l.dir.backlog.keep(l, former, f.first)
	}
}

// report reports an error, once.
func (l *Log) report(err error) {
	if !l.failing {
		l.failing = true
		l.onError(fmt.Errorf("cannot write history of console %s, which is kept in memory: %w", l.name, err))
	}
}

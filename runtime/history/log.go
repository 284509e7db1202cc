package history

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// A Log is the history of one console, for the reader of its pipe. Each console has one
// at a time: the next waits for Close, which must be called. The file is opened when it
// is needed, and created when there is something to write.
//
// Its methods may be called concurrently, except that Take and Finish belong to one
// goroutine. Next does not block, the others wait for the disk.
type Log struct {
	dir     *Dir
	name    messages.Name
	path    string
	onError func(error)
	turn    <-chan struct{} // closed when it is ours
	pass    func()

	taken *atomic.Int64 // lines ever taken; changed in Take or Finish

	buffer []byte // of Take or Finish, while there is something to read

	mu       sync.Mutex // held during work, not while waiting for output
	file     *file      // nil: not opened, or nonexistent
	memory   *tail      // nil: all is in the file; otherwise see fail
	failing  bool       // and that was reported
	splitter splitter   // of all that is taken
	deaf     bool       // lines are not counted; see Move
	closed   bool

	behind behind // guarded by the lock of the backlog
}

// Log makes the log of a console, without waiting. The log calls onError for the first of
// several errors of the disk. In spite of an error it takes and keeps output.
func (d *Dir) Log(name messages.Name, onError func(error)) *Log {
	l := &Log{dir: d, name: name, path: d.file(name), onError: onError, taken: d.takenOf(name)}
	l.turn, l.pass = d.queue(name)
	return l
}

// Take waits for output in a pipe, and takes at most a chunk of it. It reports whether there
// is more. It returns an error if the pipe fails or was stopped, or if the pipe or the log is
// closed; at the end of a foreign pipe, io.EOF.
func (l *Log) Take(pipe *Pipe) (more bool, err error) {
	for {
		n, more, err := l.takeNow(pipe)
		if n > 0 || err != nil {
			return more, err
		}
		l.buffer = nil // an idle console needs none
		if err := pipe.wait(); err != nil {
			return false, err
		}
	}
}

// takeNow takes what is in the pipe; n is 0 if it is empty.
func (l *Log) takeNow(pipe *Pipe) (n int, more bool, err error) {
	err = pipe.control(func(fd int) error {
		size, err := available(fd)
		if size == 0 || err != nil {
			return err
		}
		if err := l.lock(); err != nil {
			return err
		}
		defer l.mu.Unlock()
		n, err = l.take(fd, size)
		more = n < size
		return err
	})
	return n, more, err
}

// Finish takes the rest of a pipe, unless it is nil, and ends the last line: nothing more
// will come.
func (l *Log) Finish(pipe *Pipe) (err error) {
	if err := l.lock(); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if pipe != nil {
		err = pipe.control(l.drain)
	}
	l.endLine()
	l.buffer = nil
	return err
}

// drain takes what is in the pipe now, and not what comes meanwhile: a process that the
// unikernel has left behind could write for ever.
func (l *Log) drain(pipe int) error {
	left, err := available(pipe)
	for n := 1; left > 0 && n > 0 && err == nil; left -= n {
		n, err = l.take(pipe, left)
	}
	return err
}

// available returns how many bytes are in a pipe.
func available(pipe int) (int, error) {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ)
	return n, os.NewSyscallError("ioctl", err)
}

// take takes at most size bytes.
func (l *Log) take(pipe, size int) (n int, err error) {
	n, raw, err := l.move(pipe, min(size, chunk), l.dir.time())
	l.count(raw)
	l.compact()
	return n, err
}

// count counts the lines that bytes complete, and shows them to readers.
func (l *Log) count(raw []byte) {
	lines := 0
	l.splitter.feed(raw, func([]byte) { lines++ })
	l.taken.Add(int64(lines))
	if l.memory == nil && l.file != nil {
		l.file.show(l.Next())
	}
}

// endLine ends an incomplete line.
func (l *Log) endLine() {
	l.open(0)
	if l.memory == nil && (l.file == nil || !l.file.midLine()) {
		return
	}
	newline := []byte{'\n'}
	l.append(newline, l.dir.time())
	l.count(newline)
}

// Next returns the number of the line that will be taken next. Lines of a console have
// numbers for the life of the Dir: the next log goes on counting.
func (l *Log) Next() int { return Lines + int(l.taken.Load()) }

// Sync fsyncs what was taken before, and reports whether it could.
func (l *Log) Sync() bool {
	if err := l.lock(); err != nil {
		return true // Close has done what could be done
	}
	l.restore()
	f, lost := l.file, l.memory != nil
	l.mu.Unlock()
	if f == nil || lost {
		return !lost
	}
	err := l.dir.sync(f) // reading goes on meanwhile
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.report(err)
		return false
	}
	l.failing = l.memory != nil
	return true
}

// Close waits until the log is ours and idle, and passes the file on to the next log.
func (l *Log) Close() {
	if err := l.lock(); err != nil {
		return // it is closed
	}
	defer l.mu.Unlock()
	l.restore()
	l.end()
}

// end ends the log and its readers.
func (l *Log) end() {
	l.use(nil)
	l.dir.backlog.remove(l, func(*Reader) bool { return true })
	l.closed = true
	l.pass()
}

// Abandon is Close without a change of the file, which another process may have written to.
func (l *Log) Abandon() {
	if err := l.lock(); err != nil {
		return // it is closed
	}
	defer l.mu.Unlock()
	l.memory = nil
	l.end()
}

// lock waits until the log is ours. It returns os.ErrClosed after Close.
func (l *Log) lock() error {
	<-l.turn
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return os.ErrClosed
	}
	return nil
}

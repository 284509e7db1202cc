package history

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// A Log is the history of one console, for the reader of its pipe. Each console has one
// at a time: the next waits for Close, which must be called. The file is opened when it
// is needed, and created when there is something to write.
//
// Its methods may be called concurrently, except that Take and Finish belong to one
// goroutine. Unfollow does not block, the others wait for the disk.
type Log struct {
	dir     *Dir
	name    messages.Name
	path    string
	onError func(error)
	turn    <-chan struct{} // closed when it is ours
	pass    func()

	taken *atomic.Int64 // lines ever taken; changed in Take or Finish

	unfollowed atomic.Bool // the follower has left
	buffer     []byte      // of Take or Finish, while there is something to read

	mu       sync.Mutex // held during work, not while waiting for output
	file     *file      // nil: not opened, or nonexistent
	memory   *tail      // nil: all is in the file; otherwise see fail
	failing  bool       // and that was reported
	follower uint64     // 0: nobody
	splitter splitter   // of all that is taken
	deaf     bool       // lines are not looked at; see Move
	closed   bool
}

// Log makes the log of a console, without waiting. The log calls onError for the first of
// several errors of the disk. In spite of an error it takes and keeps output.
func (d *Dir) Log(name messages.Name, onError func(error)) *Log {
	l := &Log{dir: d, name: name, path: d.file(name), onError: onError, taken: d.takenOf(name)}
	l.turn, l.pass = d.queue(name)
	return l
}

// Taken is what was taken out of a pipe.
type Taken struct {
	Skipped  int                    // lines before Lines, if there were too many to keep
	Lines    []messages.ConsoleLine // that were completed, if there is a follower
	Follower uint64                 // the number of that follower
	More     bool                   // there is more in the pipe
}

// Take waits for output in a pipe, and takes at most a chunk of it. It returns an error
// if the pipe fails or was stopped, or if the pipe or the log is closed; at the end of a
// foreign pipe, io.EOF.
func (l *Log) Take(pipe *Pipe) (t Taken, err error) {
	for {
		n, err := l.takeNow(pipe, &t)
		if n > 0 || err != nil {
			return t, err
		}
		l.buffer = nil // an idle console needs none
		if err := pipe.wait(); err != nil {
			return t, err
		}
	}
}

// takeNow takes what is in the pipe; n is 0 if it is empty.
func (l *Log) takeNow(pipe *Pipe, t *Taken) (n int, err error) {
	err = pipe.control(func(fd int) error {
		size, err := available(fd)
		if size == 0 || err != nil {
			return err
		}
		if err := l.lock(); err != nil {
			return err
		}
		defer l.mu.Unlock()
		n, err = l.take(fd, size, t)
		return err
	})
	return n, err
}

// Finish takes the rest of a pipe, unless it is nil, and ends the last line: nothing more
// will come.
func (l *Log) Finish(pipe *Pipe) (t Taken, err error) {
	if err := l.lock(); err != nil {
		return t, err
	}
	defer l.mu.Unlock()
	if pipe != nil {
		err = pipe.control(func(fd int) error { return l.drain(fd, &t) })
	}
	l.endLine(&t)
	l.buffer = nil
	return t, err
}

// drain takes what is in the pipe now, and not what comes meanwhile: a process that the
// unikernel has left behind could write for ever.
func (l *Log) drain(pipe int, t *Taken) error {
	left, err := available(pipe)
	for n := 1; left > 0 && n > 0 && err == nil; left -= n {
		n, err = l.take(pipe, left, t)
	}
	return err
}

// available returns how many bytes are in a pipe.
func available(pipe int) (int, error) {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ)
	return n, os.NewSyscallError("ioctl", err)
}

// take takes at most size bytes.
func (l *Log) take(pipe, size int, t *Taken) (n int, err error) {
	at := l.dir.time()
	n, raw, err := l.move(pipe, min(size, chunk), at)
	t.More = n < size
	l.split(raw, at, t)
	l.compact()
	return n, err
}

// split makes lines of bytes, counts them, and keeps them for the follower.
func (l *Log) split(raw []byte, at time.Time, t *Taken) {
	if l.unfollowed.Load() {
		l.follower = 0
	}
	t.Follower = l.follower
	skipped := 0
	if l.follower != 0 && len(raw) > 2*Lines { // most of it would be dropped at once
		skipped = max(0, l.splitter.count(raw)-Lines)
	}
	if skipped > 0 {
		t.Skipped += len(t.Lines) + skipped
		t.Lines = nil
	}
	lines := 0
	l.splitter.feed(raw, func(kept []byte) {
		lines++
		if l.follower != 0 && lines > skipped {
			t.Lines = append(t.Lines, messages.ConsoleLine{Time: at, Text: text(kept)})
		}
	})
	l.taken.Add(int64(lines))
}

// endLine ends an incomplete line.
func (l *Log) endLine(t *Taken) {
	l.open(0)
	if l.memory == nil && (l.file == nil || !l.file.midLine()) {
		return
	}
	newline, at := []byte{'\n'}, l.dir.time()
	l.append(newline, at)
	l.split(newline, at, t)
}

// Follow returns the kept lines, and the number of the line after them. Take and Finish
// return that line and the next ones, with the number of this follower, which is not 0.
// It replaces a former follower. A closed log returns nothing.
//
// Lines of a console have numbers for the life of the Dir: the next log goes on counting.
func (l *Log) Follow(follower uint64) (lines []messages.ConsoleLine, next int) {
	if err := l.lock(); err != nil {
		return nil, 0
	}
	defer l.mu.Unlock()
	l.unfollowed.Store(false)
	t := l.remembered()
	l.follower = follower
	l.splitter = t.splitter.clone()
	return t.consoleLines(), Lines + int(l.taken.Load())
}

// Unfollow ends that. A few more lines may come.
func (l *Log) Unfollow() { l.unfollowed.Store(true) }

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
	l.use(nil)
	l.closed = true
	l.pass()
}

// Abandon is Close without a change of the file, which another process may have written to.
func (l *Log) Abandon() {
	if err := l.lock(); err != nil {
		return // it is closed
	}
	defer l.mu.Unlock()
	l.use(nil)
	l.memory = nil
	l.closed = true
	l.pass()
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

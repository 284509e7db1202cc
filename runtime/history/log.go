package history

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// A Log is the history of one console, for whoever reads its pipe. Of one
// console there is one at a time: the next waits until Close, which must be
// called. The file is opened when it is needed, and made when there is
// something to be in it.
//
// Its methods may be called concurrently, but Take and Finish are for one
// goroutine. Unfollow waits for nothing, the others for the disk.
type Log struct {
	dir  *Dir
	name messages.Name
	path string
	tell func(error)
	turn <-chan struct{} // closed when it is ours
	pass func()

	taken *atomic.Int64 // lines; changed by whoever is in Take or Finish

	unfollowed atomic.Bool // the follower has left
	buffer     []byte      // of whoever is in Take or Finish, while there is something to read

	mu       sync.Mutex // held while something is done, not while output is awaited
	file     *file      // nil: not opened, or not there
	memory   *tail      // nil: all is in the file; otherwise see fail
	failing  bool       // and that has been told
	follower uint64     // 0: nobody
	splitter splitter   // of all that is taken
	closed   bool
}

// Log makes the log of a console. It waits for nothing. What is wrong with the
// disk goes to tell, once until it works again; whatever it is, output is taken
// and remembered.
func (d *Dir) Log(name messages.Name, tell func(error)) *Log {
	l := &Log{dir: d, name: name, path: d.file(name), tell: tell, taken: d.takenOf(name)}
	l.turn, l.pass = d.queue(name)
	return l
}

// Taken is what was taken out of a pipe.
type Taken struct {
	Skipped  int                    // lines before Lines, where these are all that is remembered
	Lines    []messages.ConsoleLine // that were completed, where somebody follows
	Follower uint64                 // who that is
	More     bool                   // there is more in the pipe
}

// Take waits until there is something in a pipe, and takes at most a chunk of
// it. An error is one of the pipe, or says that the pipe was stopped, or that it
// or the log is closed; at the end of a foreign pipe, it is io.EOF.
func (l *Log) Take(pipe *Pipe) (t Taken, err error) {
	for {
		n, err := l.takeNow(pipe, &t)
		if n > 0 || err != nil {
			return t, err
		}
		l.buffer = nil // an idle console has none
		if err := pipe.wait(); err != nil {
			return t, err
		}
	}
}

// takeNow takes what is there; n is 0 where nothing is.
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

// Finish takes what is left in a pipe, unless it is nil, and ends the last line:
// nothing more will come.
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

// drain takes what is there now, and not what somebody writes meanwhile: a
// process that the unikernel has left behind could do that for ever.
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
	if l.follower != 0 && len(raw) > 2*Lines { // most of a flood would be forgotten at once
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

// endLine ends the line that has not ended.
func (l *Log) endLine(t *Taken) {
	l.open(0)
	if l.memory == nil && (l.file == nil || !l.file.midLine()) {
		return
	}
	newline, at := []byte{'\n'}, l.dir.time()
	l.append(newline, at)
	l.split(newline, at, t)
}

// Follow tells the lines that are remembered, and the number of the line behind
// them. That and the next ones come from Take and Finish, with the number of the
// follower, which is not 0. Whoever has followed before does not do so any more. A
// closed log has nothing to tell.
//
// The lines of a console are numbered as long as there is its Dir: other logs go on
// counting.
func (l *Log) Follow(follower uint64) (lines []messages.ConsoleLine, next int) {
	if err := l.lock(); err != nil {
		return nil, 0
	}
	defer l.mu.Unlock()
	l.unfollowed.Store(false)
	t := l.remembered()
	l.follower = follower
	l.splitter = t.splitter.clone()
	return t.told(), Lines + int(l.taken.Load())
}

// Unfollow ends that. A few lines more may come.
func (l *Log) Unfollow() { l.unfollowed.Store(true) }

// Sync puts on disk what was taken before. It tells whether it could.
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
		l.complain(err)
		return false
	}
	l.failing = l.memory != nil
	return true
}

// Close waits until the log is ours and nothing is being done, and lets the next
// one have it.
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

// lock waits until the log is ours. The error is os.ErrClosed.
func (l *Log) lock() error {
	<-l.turn
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return os.ErrClosed
	}
	return nil
}

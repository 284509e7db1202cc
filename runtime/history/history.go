// Package history owns the files with the last lines of consoles, one per console, in one
// directory.
//
// A line that has left the pipe of a unikernel is in the file of its console, whatever
// kills the daemon and whenever: splice(2) moves bytes from the pipe to the file in one
// step of the kernel. A power cut may lose what came after the last Sync.
//
// A file is a sequence of frames: when some bytes came, how many they are, and the bytes
// themselves, as the unikernel wrote them. Readers split them into lines, always in the
// same way, so that the next daemon goes on where the last one has stopped. A file that
// has become large is replaced by one with the last lines only.
//
// Readers read the lines from there. A file that they have not read to its end stays open, without
// a name, when it is replaced: within bounds, a slow reader misses nothing.
//
// A full disk stops no unikernel: output stays in memory until it can be written.
package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/durable"
)

// Lines is how many lines of a console are kept.
const Lines = 1024

// The names of files that are going to replace others begin with these: those of the
// daemon, and those of its keeper. No console has such a name, since that contains a ':'.
const (
	temporaryPrefix = "tmp-"
	keeperPrefix    = "keeper-tmp-"
)

// maxWorking bounds how many logs read or sync their files at the same time: each needs
// memory, or a thread.
const maxWorking = 16

// A Dir is the directory of all files. One daemon and its keeper use it at a time. Only
// one of them has a Log of the same console. Its methods may be called concurrently.
type Dir struct {
	path    string
	prefix  string // of the names of temporary files
	now     func() time.Time
	working chan struct{}
	copies  atomic.Bool // splice does not work in this file system
	lines   int         // that a new reader can have: Lines, except in tests
	backlog backlog

	mu    sync.Mutex
	last  map[messages.Name]chan struct{} // by console, closed when the last in line is done
	taken map[messages.Name]*atomic.Int64 // lines ever taken, of consoles that were not removed
}

// Open opens the directory at path, and creates it if necessary. Lines get their time
// from now.
func Open(path string, now func() time.Time) (*Dir, error) {
	return open(path, temporaryPrefix, now)
}

// OpenBeside is Open for the keeper: it leaves the temporary files of the daemon alone.
func OpenBeside(path string, now func() time.Time) (*Dir, error) {
	return open(path, keeperPrefix, now)
}

func open(path, prefix string, now func() time.Time) (*Dir, error) {
	d := &Dir{
		path:    path,
		prefix:  prefix,
		now:     now,
		working: make(chan struct{}, maxWorking),
		last:    map[messages.Name]chan struct{}{},
		taken:   map[messages.Name]*atomic.Int64{},
		lines:   Lines,
		backlog: backlog{maxBehind: maxBehind, maxAll: maxBacklog, behind: map[*Log]bool{}},
	}
	err := os.MkdirAll(path, 0o700)
	if err == nil {
		err = errors.Join(durable.SyncDir(filepath.Dir(path)), d.removeTemporary()) // the directory may be new
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open console history %s: %w", path, err)
	}
	return d, nil
}

// removeTemporary removes what a crash has left behind.
func (d *Dir) removeTemporary() error {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), d.prefix) {
			err = errors.Join(err, unlink(filepath.Join(d.path, e.Name())))
		}
	}
	return err
}

// file returns the path of a console's history. A name always contains a ':' and never a
// '/', so it is always a file in the directory.
func (d *Dir) file(name messages.Name) string { return filepath.Join(d.path, name.String()) }

// Remove returns a function that removes the history of a console, and that must be
// called. It waits until an existing log is closed. A log that is made after Remove has
// returned begins empty.
func (d *Dir) Remove(name messages.Name) (remove func() error) {
	turn, pass := d.queue(name)
	d.forget(name)
	return func() error {
		<-turn
		defer pass()
		return d.remove(name)
	}
}

// remove does not fsync the directory: Sweep removes what comes back after a power cut.
func (d *Dir) remove(name messages.Name) error {
	if err := unlink(d.file(name)); err != nil {
		return fmt.Errorf("cannot remove history of console %s: %w", name, err)
	}
	return nil
}

// Sweep removes the history of consoles that keep refuses. It goes on after an error. It
// leaves alone a console that has a log now, and a file whose name is not that of a
// console.
func (d *Dir) Sweep(keep func(messages.Name) bool) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("cannot look for console history: %w", err)
	}
	var failed error
	for _, e := range entries {
		name, err := messages.ParseName(e.Name())
		if err == nil && name.String() == e.Name() && !keep(name) {
			failed = errors.Join(failed, d.sweep(name))
		}
	}
	return failed
}

func (d *Dir) sweep(name messages.Name) error {
	pass, free := d.queueIfFree(name)
	if !free {
		return nil
	}
	defer pass()
	return d.remove(name)
}

// takenOf returns the counter of the lines taken from a console.
func (d *Dir) takenOf(name messages.Name) *atomic.Int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken[name] == nil {
		d.taken[name] = &atomic.Int64{}
	}
	return d.taken[name]
}

func (d *Dir) forget(name messages.Name) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.taken, name)
}

// queue gets in line for the file of a console, without waiting. turn is closed when all
// before are done; then the caller must call pass.
func (d *Dir) queue(name messages.Name) (turn <-chan struct{}, pass func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	turn = d.last[name]
	if turn == nil {
		turn = closed
	}
	return turn, d.join(name)
}

// queueIfFree gets in line only if nobody else is.
func (d *Dir) queueIfFree(name messages.Name) (pass func(), free bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last[name] != nil {
		return nil, false
	}
	return d.join(name), true
}

var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// The caller of join holds mu.
func (d *Dir) join(name messages.Name) (pass func()) {
	mine := make(chan struct{})
	d.last[name] = mine
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.last[name] == mine {
			delete(d.last, name)
		}
		close(mine)
	}
}

// time returns now, with the precision that a file keeps.
func (d *Dir) time() time.Time { return time.Unix(0, d.now().UnixNano()).UTC() }

// sync fsyncs a file, and the directory with its name.
func (d *Dir) sync(f *file) error {
	defer d.work()()
	err := f.Sync()
	if errors.Is(err, os.ErrClosed) {
		return nil // another file has replaced it, and was synced before
	}
	if err == nil && !f.named.Load() {
		if err = durable.SyncDir(d.path); err == nil {
			f.named.Store(true)
		}
	}
	return err
}

// work waits for one of the places for readers and syncs.
func (d *Dir) work() (done func()) {
	d.working <- struct{}{}
	return func() { <-d.working }
}

// unlink removes a file or a symbolic link, but no directory. One that is gone already is
// no error.
func unlink(path string) error {
	err := unix.Unlink(path)
	if err == nil || err == unix.ENOENT || err == unix.ENAMETOOLONG {
		return nil
	}
	return &fs.PathError{Op: "unlink", Path: path, Err: err}
}

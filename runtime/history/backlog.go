package history

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// The bounds of the backlog. A file counts as at least maxSize, so they bound the descriptors
// of the daemon, too: some 170.
const (
	maxBehind  = 32 << 20  // bytes of one console
	maxBacklog = 256 << 20 // bytes of all
)

// A backlog is the files that others have replaced, and that readers have not read to their
// end. They have no names any more: when they are closed, or the process ends, they are gone.
type backlog struct {
	maxBehind, maxAll int64 // see the constants

	mu     sync.Mutex
	bytes  int64
	behind map[*Log]bool // those with such files
}

// A behind is what one log has in the backlog.
type behind struct {
	readers []*Reader
	files   []*file // the oldest first
	bytes   int64
}

// needed returns the number of the first line that a reader has not read yet, or another one
// if there is none before that.
func (b *behind) needed(before int) int {
	for _, r := range b.readers {
		before = min(before, r.Next())
	}
	return before
}

// size is what a file counts as.
func (f *file) size() int64 { return max(f.end, maxSize) }

// keep keeps a file of which the next one repeats the lines from a number on, if a reader
// needs it; otherwise it closes the file. If there is too much then, or more than a quarter of
// what is free on the disk, the oldest files go, of the console with most.
func (b *backlog) keep(l *Log, f *file, repeated int) {
	repeated = min(repeated, int(f.next.Load()))
	f.next.Store(int64(repeated))
	limit := min(b.maxAll, free(f)/4)
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.behind.needed(repeated) == repeated {
		_ = f.Close() // it was only read
		return
	}
	l.behind.files = append(l.behind.files, f)
	b.grow(l, f.size())
	for l.behind.bytes > b.maxBehind {
		b.drop(l)
	}
	b.shrink(limit)
}

// clear makes room on a full disk.
func (b *backlog) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shrink(0)
}

// The caller of shrink holds the lock.
func (b *backlog) shrink(limit int64) {
	for b.bytes > limit {
		b.drop(b.largest())
	}
}

// free returns how many bytes are free on the disk that holds a file.
func free(f *file) int64 {
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil {
		return 0
	}
	return int64(disk.Bavail) * disk.Bsize
}

// largest returns the log with most.
func (b *backlog) largest() (largest *Log) {
	for l := range b.behind {
		if largest == nil || l.behind.bytes > largest.behind.bytes {
			largest = l
		}
	}
	return largest
}

// drop closes the oldest file of a log. A reader that reads it finds out.
func (b *backlog) drop(l *Log) {
	oldest := l.behind.files[0]
	l.behind.files = l.behind.files[1:]
	b.grow(l, -oldest.size())
	_ = oldest.Close() // it was only read
}

func (b *backlog) grow(l *Log, bytes int64) {
	l.behind.bytes += bytes
	b.bytes += bytes
	if b.behind[l] = true; len(l.behind.files) == 0 {
		delete(b.behind, l)
	}
}

// release closes the files that no reader needs any more.
func (b *backlog) release(l *Log) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(l.behind.files) > 0 {
		next := int(l.behind.files[0].next.Load())
		if l.behind.needed(next) < next {
			return
		}
		b.drop(l)
	}
}

func (b *backlog) filesOf(l *Log) []*file {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(l.behind.files)
}

// add makes a reader one of those whose lines are kept.
func (b *backlog) add(r *Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.log.behind.readers = append(r.log.behind.readers, r)
}

// remove undoes that, for the readers of a log that match.
func (b *backlog) remove(l *Log, match func(*Reader) bool) {
	b.mu.Lock()
	l.behind.readers = slices.DeleteFunc(l.behind.readers, match)
	b.mu.Unlock()
	b.release(l)
}

package history

// The keeper uses these for consoles that no daemon reads. It polls many pipes itself, and
// does not look at the lines.

// Move moves at most a chunk from a pipe, without waiting; n is 0 if the pipe is empty. The
// log has no readers from then on. An error is one of the pipe, or os.ErrClosed if the log
// is closed.
func (l *Log) Move(pipe int) (n int, err error) {
	size, err := available(pipe)
	if size == 0 || err != nil {
		return 0, err
	}
	if err := l.lock(); err != nil {
		return 0, err
	}
	defer l.mu.Unlock()
	l.deaf = true
	defer func() { l.buffer = nil }()
	n, _, err = l.move(pipe, min(size, chunk), l.dir.time())
	l.compact()
	return n, err
}

// MoveLast is Finish for a caller of Move.
func (l *Log) MoveLast(pipe int) error {
	if err := l.lock(); err != nil {
		return err
	}
	defer l.mu.Unlock()
	l.deaf = true
	err := l.drain(pipe)
	l.endLine()
	l.buffer = nil
	return err
}

// Written reports whether the file contains all lines, after one more try to write them.
func (l *Log) Written() bool {
	if err := l.lock(); err != nil {
		return true // Close has done what could be done
	}
	defer l.mu.Unlock()
	l.restore()
	return l.memory == nil
}

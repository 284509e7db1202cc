package gateway

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// An input is what a client sends. It is read in parts, the first of which is as
// small as almost all commands are. Each has to arrive within a deadline: who sends
// a byte now and then is no better than who sends nothing. What does not fit into
// the first part is held in memory that has to be taken before.
type input struct {
	conn   *net.UnixConn
	ctx    context.Context // of the connection
	limits Limits
	heard  *atomic.Int64 // when something came last, in Unix nanoseconds

	read    int64 // bytes of this command
	allowed int64 // of them before the next part begins
	taken   int64 // bytes of memory
	turn    bool  // it takes what is not there
}

func (i *input) Read(b []byte) (int, error) {
	if i.read == i.allowed {
		if err := i.next(); err != nil {
			return 0, err
		}
	}
	n, err := i.conn.Read(b[:min(int64(len(b)), i.allowed-i.read)])
	if i.read == 0 && n > 0 {
		err = errors.Join(err, i.hurry())
	}
	if i.read += int64(n); n > 0 {
		i.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// next begins the next part. The first may be waited for as long as it takes.
func (i *input) next() error {
	if i.read == 0 {
		i.allowed = free
		return i.conn.SetReadDeadline(time.Time{})
	}
	i.allowed += step
	return i.hurry()
}

func (i *input) hurry() error {
	return i.conn.SetReadDeadline(time.Now().Add(i.limits.Patience))
}

// hold has the command hold two buffers of so many bytes. The second is 0 where one
// is not needed any more. Whoever waits gets its turn in order.
func (i *input) hold(bytes, beside int) error {
	want := int64(bytes + beside)
	switch {
	case want <= free:
		return nil
	case i.turn:
		if i.take(want) {
			i.turn = false
			i.limits.Memory.turn.Release(1)
		}
		return nil
	case want <= i.taken:
		i.take(want)
		return nil
	}
	ctx, cancel := context.WithTimeout(i.ctx, i.limits.Patience)
	defer cancel()
	if err := i.limits.Memory.turn.Acquire(ctx, 1); err != nil {
		return errors.New("cannot receive more: other commands take all memory")
	}
	if i.turn = !i.take(want); !i.turn {
		i.limits.Memory.turn.Release(1)
	}
	return nil
}

// take has the command take so many bytes in all, if there are as many.
func (i *input) take(want int64) bool {
	left := i.limits.Memory.left
	if want > i.taken && !left.TryAcquire(want-i.taken) {
		return false
	}
	left.Release(max(0, i.taken-want))
	i.taken = want
	return true
}

// release gives back what the command has taken.
func (i *input) release() {
	i.limits.Memory.left.Release(i.taken)
	if i.turn {
		i.limits.Memory.turn.Release(1)
	}
	i.read, i.allowed, i.taken, i.turn = 0, 0, 0, false
}

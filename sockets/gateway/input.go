package gateway

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// An input is what a client sends. It is read in parts: the first is as small
// as almost all commands are, each further one is paid for with memory. Each
// has to arrive within a deadline: who sends a byte now and then is no better
// than who sends nothing.
type input struct {
	conn   *net.UnixConn
	ctx    context.Context // of the connection
	limits Limits
	heard  *atomic.Int64 // when something came last, in Unix nanoseconds

	read    int64 // bytes of this command
	allowed int64 // of them before the next part begins
	paid    int64
	turn    bool // it takes what is not there
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
	if err := i.pay(); err != nil {
		return err
	}
	i.allowed += step
	return i.hurry()
}

func (i *input) hurry() error {
	return i.conn.SetReadDeadline(time.Now().Add(i.limits.Patience))
}

// pay takes memory for a part. Whoever waits gets its turn in order.
func (i *input) pay() error {
	if i.turn {
		return nil
	}
	ctx, cancel := context.WithTimeout(i.ctx, i.limits.Patience)
	defer cancel()
	memory := i.limits.Memory
	if err := memory.turn.Acquire(ctx, 1); err != nil {
		return errors.New("cannot receive more: other commands take all memory")
	}
	if i.turn = !memory.left.TryAcquire(step); i.turn {
		return nil
	}
	i.paid += step
	memory.turn.Release(1)
	return nil
}

// release gives back what the command has taken.
func (i *input) release() {
	i.limits.Memory.left.Release(i.paid)
	if i.turn {
		i.limits.Memory.turn.Release(1)
	}
	i.read, i.allowed, i.paid, i.turn = 0, 0, 0, false
}

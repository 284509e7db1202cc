package gateway

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"albatross/sockets/monotonic"
)

// An input is what a client sends. It is read in parts, the first of which has the size
// of a usual command. Each part has a deadline, so that a client cannot stay by sending a
// byte now and then. Memory for what exceeds the first part must be reserved before.
type input struct {
	conn   *net.UnixConn
	ctx    context.Context // of the connection
	limits Limits
	heard  *atomic.Int64 // when it last sent something, by monotonic.Now

	read    int64 // bytes of this command
	allowed int64 // of them before the next part begins
	taken   int64 // bytes of memory
	turn    bool  // it may exceed the memory
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
		i.heard.Store(int64(monotonic.Now()))
	}
	return n, err
}

// next begins the next part. The first one has no deadline.
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

// hold reserves memory for two buffers of so many bytes. The second is 0 if one is no
// longer needed. Those who wait get their turn in order.
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

// take reserves so many bytes in all for the command, if they are free.
func (i *input) take(want int64) bool {
	left := i.limits.Memory.left
	if want > i.taken && !left.TryAcquire(want-i.taken) {
		return false
	}
	left.Release(max(0, i.taken-want))
	i.taken = want
	return true
}

// release frees the memory of the command.
func (i *input) release() {
	i.limits.Memory.left.Release(i.taken)
	if i.turn {
		i.limits.Memory.turn.Release(1)
	}
	i.read, i.allowed, i.taken, i.turn = 0, 0, 0, false
}

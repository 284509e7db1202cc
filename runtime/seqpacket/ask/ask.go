// Package ask is the side of a connection that asks: it sends requests with descriptors to a
// process, and matches the answers, which may come in any order. The keeper and the processes of
// networks are asked in this way. An answer belongs to the request whose ID it has; one with
// the ID 0 is news that nobody has asked for.
package ask

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/seqpacket"
)

// A Protocol says how answers are understood, and what the other side is called in errors.
type Protocol[A any] struct {
	MaxFrame int           // bounds a message, in bytes
	Timeout  time.Duration // bounds an answer
	Decode   func(frame []byte, answer *A) error
	ID       func(A) uint64
	// News is called for each answer with the ID 0, by one goroutine. It must not wait for an
	// answer.
	News func(A)
	// Lost is returned when the connection has ended, and Silent when an answer does not come.
	Lost, Silent error
}

// A Conn is a connection to a process that is asked. Its methods may be called concurrently.
type Conn[A any] struct {
	protocol Protocol[A]
	conn     *net.UnixConn
	raw      syscall.RawConn
	pid      int
	turn     chan struct{} // held by the one that sends
	done     chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer[A]
	lost    bool
}

// An answer is one with its descriptors.
type answer[A any] struct {
	message A
	files   []int
}

// Dial connects to a socket in a directory. It uses a descriptor of the directory, since the
// kernel wants a short path.
func Dial(ctx context.Context, dir, socket string) (*net.UnixConn, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(at) }()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", fmt.Sprintf("/proc/self/fd/%d/%s", at, socket))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// NobodyListens reports whether Dial has failed since no process is there.
func NobodyListens(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)
}

// New returns a connection to a process that is root or our own user. It owns conn from now on,
// except after an error.
func New[A any](conn *net.UnixConn, protocol Protocol[A]) (*Conn[A], error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var pid int
	var checked error
	err = raw.Control(func(fd uintptr) { pid, checked = seqpacket.CheckPeer(int(fd)) })
	if err := errors.Join(err, checked); err != nil {
		return nil, err
	}
	c := &Conn[A]{
		protocol: protocol, conn: conn, raw: raw, pid: pid,
		turn: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[uint64]chan answer[A]{},
	}
	go c.receive()
	return c, nil
}

// PID returns the process on the other side.
func (c *Conn[A]) PID() int { return c.pid }

// Done is closed when the connection has ended.
func (c *Conn[A]) Done() <-chan struct{} { return c.done }

// Close ends the connection.
func (c *Conn[A]) Close() {
	_ = c.conn.Close()
	<-c.done
}

// Ask sends a request and waits for the answer. The descriptors of both belong to the caller;
// after an error there are none.
func (c *Conn[A]) Ask(ctx context.Context, encode func(id uint64) ([]byte, error), files []int) (a A, received []int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.protocol.Timeout)
	defer cancel()
	id, waits, err := c.expect()
	if err != nil {
		return a, nil, err
	}
	frame, err := encode(id)
	if err == nil {
		err = c.send(ctx, frame, files)
	}
	if err != nil {
		c.disown(id, waits)
		return a, nil, err
	}
	select {
	case got, came := <-waits:
		if !came {
			return a, nil, c.protocol.Lost
		}
		return got.message, got.files, nil
	case <-ctx.Done():
		c.disown(id, waits)
		return a, nil, fmt.Errorf("%w: %w", c.protocol.Silent, ctx.Err())
	}
}

func (c *Conn[A]) expect() (id uint64, waits chan answer[A], err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		return 0, nil, c.protocol.Lost
	}
	c.next++
	waits = make(chan answer[A], 1)
	c.waiting[c.next] = waits
	return c.next, waits, nil
}

// disown gives up an answer. Its descriptors are closed, now or when it arrives.
func (c *Conn[A]) disown(id uint64, waits chan answer[A]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
	select {
	case a := <-waits: // a zero value if the connection has ended
		seqpacket.CloseAll(a.files)
	default:
	}
}

func (c *Conn[A]) send(ctx context.Context, frame []byte, files []int) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", c.protocol.Silent, ctx.Err())
	}
	end, _ := ctx.Deadline() // there is one
	if err := c.conn.SetWriteDeadline(end); err != nil {
		return c.protocol.Lost
	}
	var sent error
	err := c.raw.Write(func(fd uintptr) bool {
		sent = seqpacket.Send(int(fd), frame, files)
		return sent != unix.EAGAIN
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", c.protocol.Silent, context.DeadlineExceeded)
	case err != nil, sent == unix.EPIPE, sent == unix.ECONNRESET:
		return c.protocol.Lost
	}
	return os.NewSyscallError("sendmsg", sent)
}

// receive delivers messages until the connection ends.
func (c *Conn[A]) receive() {
	defer close(c.done)
	buffer := make([]byte, c.protocol.MaxFrame)
	for c.receiveOne(buffer) {
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	for _, waits := range c.waiting {
		close(waits)
	}
	c.waiting = nil
}

// receiveOne returns false at the end of the connection. A message that cannot be decoded
// ends it as well. One whose descriptors were lost is delivered without them.
func (c *Conn[A]) receiveOne(buffer []byte) bool {
	var frame []byte
	var files []int
	var err error
	failed := c.raw.Read(func(fd uintptr) bool {
		frame, files, err = seqpacket.Receive(int(fd), buffer)
		return err != unix.EAGAIN
	})
	if failed != nil || err != nil && err != seqpacket.ErrCut || len(frame) == 0 {
		seqpacket.CloseAll(files)
		return false
	}
	a := answer[A]{files: files}
	if err := c.protocol.Decode(frame, &a.message); err != nil {
		seqpacket.CloseAll(files)
		return false
	}
	if c.protocol.ID(a.message) == 0 {
		c.protocol.News(a.message)
	}
	if !c.deliver(a) {
		seqpacket.CloseAll(files)
	}
	return true
}

// deliver returns false if nobody waits for the answer.
func (c *Conn[A]) deliver(a answer[A]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.protocol.ID(a.message)
	waits, wanted := c.waiting[id]
	if wanted {
		delete(c.waiting, id)
		waits <- a // it has room for one
	}
	return wanted
}

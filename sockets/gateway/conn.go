package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/monotonic"
	"albatross/sockets/wire"
)

// part is how much of an answer is written under one deadline.
const part = 1 << 20

// A Conn is the connection of one client. One Read or ReadStream and one Write may be
// under way at a time; Close ends both.
type Conn struct {
	net    *net.UnixConn
	peer   messages.Peer
	codec  Codec
	limits Limits
	in     input
	stream *wire.ChunkReader

	large atomic.Bool                     // a message of largeMessage or more has passed
	asked atomic.Pointer[messages.Header] // of the last whole command that it has sent
	heard atomic.Int64                    // when it last sent something, by monotonic.Now

	reservations reservations // for answers

	cancel  context.CancelFunc
	closing sync.Once
	reading sync.Mutex // held by Read, and by Close after that has ended
	writing sync.Mutex // held while a message is being sent
}

func newConn(c *net.UnixConn, peer messages.Peer, codec Codec, limits Limits) *Conn {
	ctx, cancel := context.WithCancel(context.Background())
	conn := &Conn{net: c, peer: peer, codec: codec, limits: limits, cancel: cancel, stream: wire.NewChunkReader(c)}
	conn.in = input{conn: c, ctx: ctx, limits: limits, heard: &conn.heard}
	conn.heard.Store(int64(monotonic.Now()))
	return conn
}

// Peer returns who has connected.
func (c *Conn) Peer() messages.Peer { return c.peer }

func (c *Conn) rank() rank {
	return rank{user: c.peer.UID, known: c.asked.Load() != nil, heard: time.Duration(c.heard.Load())}
}

// The texts for a client that gets no place, or has lost its own.
const (
	tooMany   messages.Public = "too many clients are connected: use fewer connections at a time, or try again later"
	lostPlace messages.Public = "too many clients are connected, and a newer one has taken the place of this one: " +
		"what it has asked for last may still be done; use fewer connections at a time, or try again later"
)

// reject closes the connection of a client without a place, and waits for nothing. It
// sends the reason unless another message is being sent.
func (c *Conn) reject() {
	if c.writing.TryLock() {
		c.sendReason()
		defer c.writing.Unlock()
	}
	_ = c.net.Close()
	c.cancel()
}

// sendReason sends the reason, in the form in which the client has asked last. Whether
// that arrives does not matter any more.
func (c *Conn) sendReason() {
	header, text := messages.Header{Version: messages.CurrentVersion}, tooMany
	if asked := c.asked.Load(); asked != nil {
		header, text = *asked, lostPlace
	}
	pieces, err := c.codec.encode(messages.Wire{Header: header, Payload: messages.Failure{Text: text}}).append(nil)
	raw, rawErr := c.net.SyscallConn()
	if err != nil || rawErr != nil || c.net.SetWriteDeadline(time.Time{}) != nil {
		return
	}
	_ = raw.Write(func(fd uintptr) (done bool) {
		_, _ = unix.Writev(int(fd), pieces) // the rest of what does not fit into the buffer is not sent
		return true
	})
}

// Read waits for the next command, and frees the memory of the one before. It returns
// io.EOF if the client has left properly. After any other error, also about what it
// cannot decode, nothing more can be read.
func (c *Conn) Read() (messages.Wire, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.in.release()
	m, err := c.codec.read(&c.in, c.limits.Frame)
	c.note(c.in.read)
	if err == nil {
		header := m.Header // a pointer into m would keep its image
		c.asked.Store(&header)
	}
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return m, err
}

// Write sends messages. A subscriber may take any time to read them; other clients must
// read their answers.
func (c *Conn) Write(list []messages.Wire) error {
	patience, size := c.limits.Patience, 0
	var encodings []encoding
	for _, m := range list {
		if _, ok := m.Payload.(messages.Data); ok {
			patience = 0
		}
		e := c.codec.encode(m)
		encodings, size = append(encodings, e), size+e.size
	}
	if patience == 0 || size <= free { // what a subscriber gets is small
		return c.send(encodings, patience)
	}
	if refusal := c.take(int64(size)); refusal != "" {
		refused := c.codec.encode(messages.Wire{Header: list[0].Header, Payload: messages.Failure{Text: refusal}})
		return errors.Join(errors.New(string(refusal)), c.send([]encoding{refused}, patience))
	}
	defer c.limits.Memory.left.Release(int64(size))
	return c.send(encodings, patience)
}

// take reserves memory for an answer, and waits for it within bounds.
func (c *Conn) take(bytes int64) (refusal messages.Public) {
	ctx, cancel := context.WithTimeout(c.in.ctx, c.limits.Patience)
	defer cancel()
	return c.limits.Memory.take(ctx, bytes)
}

// Reserve waits until there is memory for what an answer will hold, besides its encoding.
// It is freed when the connection ends, as it does after such an answer. The error is for
// the client.
func (c *Conn) Reserve(bytes int64) error {
	refusal := c.take(bytes)
	switch {
	case refusal != "":
		return errors.New(string(refusal))
	case !c.reservations.add(bytes):
		c.limits.Memory.left.Release(bytes)
		return net.ErrClosed
	}
	return nil
}

// reservations are the memory of a connection for answers.
type reservations struct {
	mu    sync.Mutex
	bytes int64
	ended bool
}

// add reports whether the connection still exists.
func (r *reservations) add(bytes int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.bytes += bytes
	}
	return !r.ended
}

// end returns what is to be freed. Nothing is added any more.
func (r *reservations) end() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.bytes
}

func (c *Conn) send(list []encoding, patience time.Duration) error {
	var out net.Buffers
	for _, e := range list {
		var err error
		if out, err = e.append(out); err != nil {
			return fmt.Errorf("internal error: cannot encode an answer: %w", err)
		}
	}
	var size int64
	for _, piece := range out {
		size += int64(len(piece))
	}
	c.note(size)
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(out, patience)
}

// largeMessage is the size above which memory is returned to the operating system at
// once.
const largeMessage = 4 << 20

func (c *Conn) note(bytes int64) {
	if bytes >= largeMessage {
		c.large.Store(true)
	}
}

func (c *Conn) write(out net.Buffers, patience time.Duration) error {
	if patience == 0 {
		if err := c.net.SetWriteDeadline(time.Time{}); err != nil {
			return err
		}
		_, err := out.WriteTo(c.net)
		return err
	}
	for next := (net.Buffers)(nil); len(out) > 0; {
		if err := c.net.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		next, out = split(out, part)
		if _, err := next.WriteTo(c.net); err != nil {
			return err
		}
	}
	return nil
}

// split takes the first n bytes off, or fewer if there are not so many.
func split(b net.Buffers, n int) (first, rest net.Buffers) {
	for i, piece := range b {
		if len(piece) > n {
			first = append(first, piece[:n])
			return first, append(net.Buffers{piece[n:]}, b[i+1:]...)
		}
		first = append(first, piece)
		n -= len(piece)
	}
	return first, nil
}

// Close closes the connection and ends what is under way on it.
func (c *Conn) Close() error {
	var err error
	c.closing.Do(func() {
		err = c.net.Close()
		c.cancel()
		c.reading.Lock() // waits for a Read that was under way
		defer c.reading.Unlock()
		c.in.release()
		c.limits.Memory.left.Release(c.reservations.end())
	})
	return err
}

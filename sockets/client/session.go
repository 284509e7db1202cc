package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"albatross/messages"
	"albatross/sockets/wire"
)

// SessionProtocol is the protocol of sessions, which a client and an endpoint choose by ALPN
// (RFC 7301). In a session commands follow one another on one connection, also those of the control
// socket. The certificate of the client has no command, and those above it limit what it may do.
//
// Both sides send chunks: a length of four bytes, big-endian, and that many bytes; the length 0 ends
// what the side says.
//
//	client                             endpoint
//	                            <---   0: welcome; or a chunk, why not, and the end
//	the name of a socket        --->
//	what is said to it          --->   each command is checked, and passed on
//	                            <---   what the daemon answers there
//	0                           --->
//	                            <---   0
//
// Then the next command may follow. What is said to a socket, and answered, is what a client on the
// machine of the daemon would say and read, in the current version of the protocol, except that
//
//   - names are relative to the path of the certificates, in commands. Answers have the name that
//     is answered about in full, and names in lists relative to the path that was asked
//     for, or in full if that was a name, as always;
//   - a command has at most 64 KB: the image of a unikernel follows it, in chunks, up to one of the
//     length 0 (within the chunks of the session);
//   - the endpoint may answer in place of the daemon, with a failure.
//
// Of a stream without an end, such as the lines of a console, a client that ends what it says gets
// what there is.
const SessionProtocol = "albatross/1"

const (
	// closeTimeout bounds the wait for the end of a conversation. Afterwards the session is of no
	// use.
	closeTimeout = 2 * time.Second

	// sessionIdle is how long a session is used again after its last command. Endpoints end one
	// that is idle for long.
	sessionIdle = time.Minute

	// maxReason is longer than any reason for which a session is refused.
	maxReason = 64 << 10
)

// A Session is a connection to an endpoint on which commands follow one another. It has one
// conversation at a time.
type Session struct {
	conn     *tls.Conn
	peer     string
	busy     atomic.Bool // there is a conversation, which owns what follows
	broken   atomic.Bool // nothing can follow
	welcomed bool
	last     time.Time // when the last conversation ended
}

// Open begins a conversation with a socket of the daemon. When the Conn is closed, another one can
// begin. It returns nil if that is not possible: another one is under way, or the session is over,
// or may be, since it was idle for long.
func (s *Session) Open(at messages.Endpoint) *Conn {
	if s.broken.Load() || !s.busy.CompareAndSwap(false, true) {
		return nil
	}
	if time.Since(s.last) > sessionIdle {
		s.Close()
		return nil
	}
	c := New(&conversation{Conn: s.conn, session: s, socket: at}, s.peer)
	c.afar = true
	return c
}

// Close ends the connection.
func (s *Session) Close() error {
	s.broken.Store(true)
	return s.conn.Close()
}

// A conversation is the connection to a socket of the daemon, within a session.
type conversation struct {
	net.Conn // of the session: for deadlines
	session  *Session
	socket   messages.Endpoint

	begun bool // its socket has been named
	said  bool // all that there is to say
	in    *wire.ChunkReader
	ended bool // all was read
}

func (c *conversation) Read(b []byte) (int, error) {
	if c.ended {
		return 0, io.EOF
	}
	if err := c.session.welcome(); err != nil {
		return 0, err
	}
	if c.in == nil {
		c.in = wire.NewChunkReader(c.Conn)
	}
	n, err := c.in.Read(b)
	switch {
	case err == io.EOF:
		c.ended = true
	case err != nil:
		c.session.broken.Store(true)
	}
	return n, err
}

// welcome reads whether the endpoint accepts the session.
func (s *Session) welcome() error {
	if s.welcomed {
		return nil
	}
	reason, err := wire.ReadFrame(s.conn, maxReason)
	if errors.Is(err, wire.ErrEnd) {
		s.welcomed = true
		return nil
	}
	s.broken.Store(true)
	if err != nil {
		return err
	}
	return &Refusal{Text: string(reason)}
}

func (c *conversation) Write(b []byte) (int, error) {
	if !c.begun {
		c.begun = true
		if err := c.write([]byte(c.socket)); err != nil {
			return 0, err
		}
	}
	for rest := b; len(rest) > 0; {
		n := min(len(rest), wire.ChunkSize)
		if err := c.write(rest[:n]); err != nil {
			return len(b) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

func (c *conversation) write(chunk []byte) error {
	err := wire.WriteChunk(c.Conn, chunk)
	if err != nil {
		c.session.broken.Store(true)
	}
	return err
}

// CloseWrite says that nothing more is said.
func (c *conversation) CloseWrite() error {
	if c.said || !c.begun {
		return nil
	}
	c.said = true
	err := wire.WriteEnd(c.Conn)
	if err != nil {
		c.session.broken.Store(true)
	}
	return err
}

// Close ends the conversation; if that is not possible at once, it ends the session.
func (c *conversation) Close() error {
	s := c.session
	if s.broken.Load() || c.finish() != nil {
		return s.Close()
	}
	s.last = time.Now()
	s.busy.Store(false)
	return nil
}

// finish reads what the endpoint still says in the conversation.
func (c *conversation) finish() error {
	if !c.begun {
		return nil
	}
	if err := c.SetDeadline(time.Now().Add(closeTimeout)); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{c}); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// DialSession connects to an endpoint, for a session if it offers sessions, else for one command in
// a certificate. One of the results is nil. The endpoint's Choose makes the certificate for either.
func DialSession(ctx context.Context, e Endpoint) (*Session, *Conn, error) {
	conn, err := dialTLS(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	own := conn.conn.(*tls.Conn)
	if own.ConnectionState().NegotiatedProtocol != SessionProtocol {
		return nil, conn, nil
	}
	return &Session{conn: own, peer: e.Address, last: time.Now()}, nil, nil
}

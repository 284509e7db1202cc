package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
)

// The limits of a socket of the daemon.
const (
	// MaxConns is how many clients are served at once. Console subscribers stay, all
	// others are gone in a moment. A further client takes the place of one that has sent
	// nothing yet, or of one of the user with most.
	MaxConns = 1024

	// Patience is more than enough for the next MB on a machine that swaps.
	Patience = 30 * time.Second
)

// socketMode lets the group of the socket use it.
const socketMode = 0o660

// A Listener is one socket.
type Listener struct {
	path   string
	gid    int
	codec  Codec
	limits Limits
	log    *slog.Logger
	places *places
	conns  sync.WaitGroup

	mu     sync.Mutex
	net    *net.UnixListener // the last one that was made; see Renew
	closed bool
}

// Limits are those of the connections of a socket.
type Limits struct {
	Conns  int     // clients at once
	Frame  int     // bytes of the largest command
	Memory *Memory // shared by large commands

	// Patience bounds the time of each MB of a command or an answer that has begun, and
	// of a command's wait for memory.
	Patience time.Duration

	Rejected func() // called for each client that is cut off because there are too many
}

// Listen makes the socket. It replaces one that a daemon has left behind, but not one
// with a listener. The socket belongs to the group gid, unless that is negative.
func Listen(path string, gid int, codec Codec, limits Limits, log *slog.Logger) (*Listener, error) {
	l, err := listen(path, gid)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return Inherit(l, gid, codec, limits, log), nil
}

// Inherit is Listen for a socket that somebody else has made and may go on using: Serve
// does not remove it.
func Inherit(l *net.UnixListener, gid int, codec Codec, limits Limits, log *slog.Logger) *Listener {
	return &Listener{
		path: l.Addr().String(), gid: gid, codec: codec, limits: limits, log: log,
		places: newPlaces(limits.Conns), net: l,
	}
}

// Path returns where the socket is.
func (l *Listener) Path() string { return l.path }

// maxPath is the longest path in the address of a socket, which ends with a zero.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

func listen(path string, gid int) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path has %d bytes, and sockets have %d at most: use a shorter directory", len(path), maxPath)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(path, -1, gid), os.Chmod(path, socketMode)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes a socket without a listener. Another daemon could start before the
// next step; then the lock of the database decides.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("there is a file of that name, and it is no socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		return errors.Join(errors.New("another daemon listens there"), c.Close())
	case !errors.Is(err, unix.ECONNREFUSED): // perhaps too busy to accept: it is in use
		return fmt.Errorf("it may be in use: %w", err)
	}
	return os.Remove(path)
}

// Renew makes the socket again if somebody has removed its file. It does not replace
// another file.
func (l *Listener) Renew() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := os.Lstat(l.path); l.closed || !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	made, err := listen(l.path, l.gid)
	if err != nil {
		return fmt.Errorf("cannot listen on %s again: %w", l.path, err)
	}
	l.log.Warn("The file of a socket was gone, and is there again", "path", l.path)
	old := l.net
	l.net = made
	old.SetUnlinkOnClose(false) // the file is that of the new one
	_ = old.Close()
	return nil
}

// current returns the listener to which clients connect now.
func (l *Listener) current() *net.UnixListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.net
}

func (l *Listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	_ = l.net.Close()
}

// Serve calls handle for each client, on a goroutine of its own, until ctx is done, and
// returns when all of them have returned. It removes a socket that Listen or Renew has
// made.
func (l *Listener) Serve(ctx context.Context, handle func(*Conn)) {
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	defer l.conns.Wait()
	for {
		from := l.current()
		c, err := from.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case errors.Is(err, net.ErrClosed) && from != l.current(): // see Renew
		case err != nil: // most likely out of descriptors
			l.log.Error("Cannot accept a client", "error", err)
			pause(ctx)
		default:
			l.accept(c, handle)
		}
	}
}

// pause keeps a persistent error from using up a CPU.
func pause(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	<-ctx.Done()
}

func (l *Listener) accept(c *net.UnixConn, handle func(*Conn)) {
	peer, err := peerOf(c)
	if err != nil {
		l.log.Warn("Cannot find out who a client is", "error", err)
		_ = c.Close()
		return
	}
	conn := newConn(c, peer, l.codec, l.limits)
	if loses := l.places.take(conn); loses != nil {
		l.log.Warn("Too many clients, one has to go", "most", l.limits.Conns, "user", loses.peer.UID, "comes", peer.UID)
		l.limits.Rejected()
		loses.reject()
		if loses == conn {
			return
		}
	}
	l.conns.Go(func() {
		defer l.places.give(conn)
		handle(conn)
		_ = conn.Close()
		if conn.large.Load() {
			// An image has passed, and the daemon may be idle for hours, during which Go
			// would keep the memory.
			debug.FreeOSMemory()
		}
	})
}

// peerOf returns the process at the other end.
func peerOf(c *net.UnixConn) (messages.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return messages.Peer{}, err
	}
	var credentials *unix.Ucred
	err = errors.Join(raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}), err)
	if err != nil {
		return messages.Peer{}, err
	}
	return messages.Peer{UID: credentials.Uid, PID: credentials.Pid}, nil
}

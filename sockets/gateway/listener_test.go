package gateway_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

// TestStaleSocket: a daemon replaces the socket that one that was killed has left.
func TestStaleSocket(t *testing.T) {
	path := socketPath(t)
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	old.SetUnlinkOnClose(false)
	require.NoError(t, old.Close())
	require.FileExists(t, path)
	require.NoError(t, listenAndStop(t, path))
}

// listenAndStop makes a socket and removes it.
func listenAndStop(t *testing.T, path string) error {
	l, err := gateway.Listen(path, -1, gateway.Wire, limits(), quiet(t))
	if err == nil {
		l.Serve(done(), func(*gateway.Conn) {})
	}
	return err
}

// done returns a context that has ended.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestLiveSocket: a daemon that listens keeps the socket.
func TestLiveSocket(t *testing.T) {
	s, results := reads(t, limits())
	_, err := gateway.Listen(s.path, -1, gateway.Wire, limits(), quiet(t))
	require.ErrorContains(t, err, "cannot listen on "+s.path+": another daemon listens there")
	require.Error(t, within(t, results, "the attempt is a client that leaves").err)

	_, err = s.dial().Write(frame(t, messages.PolicyInfo{}))
	require.NoError(t, err)
	require.NoError(t, within(t, results, "the socket still works").err)
}

// TestBusySocket: a daemon that has no time to accept still counts as one that listens.
func TestBusySocket(t *testing.T) {
	path := socketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0))
	waiting, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer waiting.Close()

	require.ErrorContains(t, listenAndStop(t, path), "it may be in use")
	require.FileExists(t, path)
}

// TestForeignFile: no file is removed except a socket.
func TestForeignFile(t *testing.T) {
	path := socketPath(t)
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	require.ErrorContains(t, listenAndStop(t, path), "there is a file of that name, and it is no socket")
	contents, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(contents))
}

// TestLongPath: a path of 107 bytes works. For a longer one the system would say only "invalid
// argument".
func TestLongPath(t *testing.T) {
	path := socketPath(t)
	path += strings.Repeat("s", 107-len(path))
	require.NoError(t, listenAndStop(t, path))
	require.ErrorContains(t, listenAndStop(t, path+"s"), "the path has 108 bytes, and sockets have 107 at most")
}

// TestModeAndGroup: the group may use the socket, others may not. Also without root, we can give it
// a group that we are in.
func TestModeAndGroup(t *testing.T) {
	path := socketPath(t)
	groups, err := os.Getgroups()
	require.NoError(t, err)
	gid := append(groups, os.Getgid())[0]
	l, err := gateway.Listen(path, gid, gateway.Wire, limits(), quiet(t))
	require.NoError(t, err)
	defer l.Serve(done(), func(*gateway.Conn) {})

	var stat unix.Stat_t
	require.NoError(t, unix.Stat(path, &stat))
	require.Equal(t, uint32(unix.S_IFSOCK|0o660), stat.Mode)
	require.Equal(t, uint32(gid), stat.Gid)
}

// TestConnectionLimit: a client beyond the limit is refused, and when another one leaves there is
// room again.
func TestConnectionLimit(t *testing.T) {
	l := limits()
	l.Conns = 2
	var turnedAway atomic.Int64
	l.Rejected = func() { turnedAway.Add(1) }
	s := serve(t, l, answer)
	first, second := s.dial(), s.dial()
	require.True(t, answered(t, first))
	require.True(t, answered(t, second))
	requireTurnedAway(t, s.dial())
	require.Equal(t, int64(1), turnedAway.Load())

	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return answered(t, s.dial()) }, deadline, soon/10)
	require.True(t, answered(t, second))
}

// requireTurnedAway checks that a client reads that there are too many, and loses its connection.
func requireTurnedAway(t *testing.T, c net.Conn) {
	t.Helper()
	f, err := wire.ReadFrame(c, wire.MaxCommand)
	require.NoError(t, err)
	m, err := wire.Decode(f)
	require.NoError(t, err)
	require.Contains(t, m.Payload.(messages.Failure).Text, "too many clients are connected")
	requireClosed(t, c)
}

// TestSilentClients: however many clients connect and send nothing, a client with a command is
// served, and so is every client that has sent one before.
func TestSilentClients(t *testing.T) {
	l := limits()
	l.Conns = 4
	s := serve(t, l, answer)
	known := s.dial()
	require.True(t, answered(t, known))
	var silent []net.Conn
	for range 20 {
		silent = append(silent, s.dial())
	}
	for _, c := range silent[:len(silent)-l.Conns+1] { // the last of them have the other places
		requireTurnedAway(t, c)
	}
	for range l.Conns - 1 {
		require.True(t, answered(t, s.dial()))
	}
	require.True(t, answered(t, known))
}

// TestUsersShare: a user that has all places loses one to another user.
func TestUsersShare(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	l := limits()
	l.Conns = 3
	s := serve(t, l, answer)
	require.NoError(t, os.Chmod(filepath.Dir(s.path), 0o755))
	require.NoError(t, os.Chmod(s.path, 0o666))
	var all []net.Conn
	for range l.Conns {
		c := s.dial()
		require.True(t, answered(t, c))
		all = append(all, c)
	}
	requireTurnedAway(t, s.dial())
	other := dialAs(t, s.path, 65534)
	require.True(t, answered(t, other))
	requireTurnedAway(t, all[0])
	require.True(t, answered(t, all[1]))
	requireTurnedAway(t, dialAs(t, s.path, 65534)) // two and one: it would have no fewer than the other
	require.True(t, answered(t, other))
}

// dialAs connects as another user: a thread of its own becomes that user, and ends after the
// connect.
func dialAs(t *testing.T, path string, uid int) net.Conn {
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- dialed{err: errno}
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err != nil {
			done <- dialed{err: err}
			return
		}
		f := os.NewFile(uintptr(fd), path)
		c, err := net.FileConn(f)
		done <- dialed{c, errors.Join(err, f.Close())}
	}()
	d := <-done
	require.NoError(t, d.err)
	t.Cleanup(func() { _ = d.conn.Close() })
	require.NoError(t, d.conn.SetDeadline(time.Now().Add(deadline)))
	return d.conn
}

// answer gives the same answer to each command of a client.
func answer(c *gateway.Conn) {
	for {
		m, err := c.Read()
		if err != nil {
			return
		}
		m.Payload = messages.SuccessEmpty{}
		if err := c.Write([]messages.Wire{m}); err != nil {
			return
		}
	}
}

// answered reports whether a client that asks gets an answer.
func answered(t *testing.T, c net.Conn) bool {
	if _, err := c.Write(frame(t, messages.PolicyInfo{})); err != nil {
		return false
	}
	_, err := wire.ReadFrame(c, wire.MaxCommand)
	return err == nil
}

// TestStop: when Serve returns, no client is being served, and the socket is removed.
func TestStop(t *testing.T) {
	begun, finish, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := serve(t, limits(), func(*gateway.Conn) {
		close(begun)
		<-finish
		close(finished)
	})
	s.dial()
	within(t, begun, "the client is served")
	s.stop()
	requireGone(t, s.path)
	select {
	case <-s.stopped:
		require.FailNow(t, "Serve has returned before its handler")
	default:
	}
	close(finish)
	within(t, s.stopped, "Serve returns")
	within(t, finished, "the handler has returned before")
}

func requireGone(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}, deadline, soon/10)
}

// TestRenew: a socket whose file is gone is made again, with the same mode and group. Clients that
// are connected do not notice.
func TestRenew(t *testing.T) {
	for title, inherited := range map[string]bool{"that we have made": false, "that was inherited": true} {
		t.Run(title, func(t *testing.T) {
			path := socketPath(t)
			var l *gateway.Listener
			if inherited {
				made, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
				require.NoError(t, err)
				made.SetUnlinkOnClose(false)
				l = gateway.Inherit(made, -1, gateway.Wire, limits(), quiet(t))
			} else {
				var err error
				l, err = gateway.Listen(path, -1, gateway.Wire, limits(), quiet(t))
				require.NoError(t, err)
			}
			s := serveOn(t, path, l, answer)
			before := s.dial()
			require.True(t, answered(t, before))
			requireServed := func() {
				c := s.dial()
				require.True(t, answered(t, c))
				require.NoError(t, c.Close())
			}

			for range 3 {
				require.NoError(t, os.Remove(path))
				require.NoError(t, l.Renew())
				require.NoError(t, l.Renew(), "nothing is to be done")
				requireServed()
				require.True(t, answered(t, before))
			}
			require.NoError(t, before.Close())
			var stat unix.Stat_t
			require.NoError(t, unix.Stat(path, &stat))
			require.Equal(t, uint32(unix.S_IFSOCK|0o660), stat.Mode)

			require.NoError(t, os.Remove(path))
			require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
			require.NoError(t, l.Renew(), "what is there instead is not ours")
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".away"))
			require.ErrorContains(t, l.Renew(), "cannot listen on "+path+" again: ")
			require.NoError(t, os.Rename(filepath.Dir(path)+".away", filepath.Dir(path)))
			require.NoError(t, l.Renew())
			requireServed()

			s.end()
			requireGone(t, path)
			require.NoError(t, l.Renew(), "not behind the end")
			requireGone(t, path)
		})
	}
}

package gateway_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

// deadline bounds what must happen.
const deadline = 20 * time.Second

// soon is the patience in a test that waits until it expires.
const soon = 50 * time.Millisecond

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server is a socket with a handler of its clients.
type server struct {
	t       *testing.T
	path    string
	stop    context.CancelFunc
	stopped chan struct{}
}

// limits are generous; a test that is about one of them sets it.
func limits() gateway.Limits {
	return gateway.Limits{Conns: 8, Frame: 64 << 20, Memory: gateway.NewMemory(64 << 20), Patience: deadline, Rejected: func() {}}
}

// socketPath returns a short path: the system allows 107 bytes.
func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "gateway")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

func quiet(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// serve calls handle for each client.
func serve(t *testing.T, l gateway.Limits, handle func(*gateway.Conn)) *server {
	return serveIn(t, gateway.Wire, l, handle)
}

// serveIn is serve with another codec.
func serveIn(t *testing.T, codec gateway.Codec, l gateway.Limits, handle func(*gateway.Conn)) *server {
	path := socketPath(t)
	listener, err := gateway.Listen(path, -1, codec, l, quiet(t))
	require.NoError(t, err)
	return serveOn(t, path, listener, handle)
}

func serveOn(t *testing.T, path string, listener *gateway.Listener, handle func(*gateway.Conn)) *server {
	s := &server{t: t, path: path, stopped: make(chan struct{})}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() {
		defer close(s.stopped)
		listener.Serve(ctx, handle)
	}()
	t.Cleanup(s.end)
	return s
}

func (s *server) end() {
	s.stop()
	within(s.t, s.stopped, "the server stops")
}

func (s *server) dial() *net.UnixConn {
	s.t.Helper()
	c, err := net.Dial("unix", s.path)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	require.NoError(s.t, c.SetDeadline(time.Now().Add(deadline)))
	return c.(*net.UnixConn)
}

// A result is what a Read has returned.
type result struct {
	wire messages.Wire
	err  error
}

// reads serves clients by reading all that they send.
func reads(t *testing.T, l gateway.Limits) (*server, chan result) {
	return readsIn(t, gateway.Wire, l)
}

func readsIn(t *testing.T, codec gateway.Codec, l gateway.Limits) (*server, chan result) {
	results := make(chan result, 64)
	return serveIn(t, codec, l, func(c *gateway.Conn) {
		for {
			w, err := c.Read()
			results <- result{w, err}
			if err != nil {
				return
			}
		}
	}), results
}

// within waits for something that must happen, and returns it.
func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(deadline):
		require.FailNow(t, what+": this has not happened")
	}
	panic("unreachable")
}

// requireClosed checks that the server has closed a connection, and sent nothing.
func requireClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func frame(t *testing.T, p messages.Payload) []byte {
	t.Helper()
	b, err := wire.AppendFrame(nil, messages.Wire{Header: messages.Header{Version: messages.Version5}, Payload: p})
	require.NoError(t, err)
	return b
}

// creating returns a command of about that many bytes.
func creating(t *testing.T, bytes int) []byte {
	return frame(t, messages.UnikernelCreate{Form: 5, Config: messages.Config{
		Image:     make([]byte, bytes),
		Arguments: messages.Arguments{Memory: 16, CPUIDs: []int{0}, CPUs: 1, AddName: true},
	}})
}

// requireNone checks that the server returns nothing of a client for some time.
func requireNone(t *testing.T, results <-chan result, d time.Duration) {
	t.Helper()
	select {
	case r := <-results:
		require.NoError(t, r.err, "the client is cut off")
	case <-time.After(d):
	}
}

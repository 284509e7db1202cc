package remote_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit bounds what must happen.
const limit = 2 * time.Minute

// A world is an endpoint in front of a daemon that does what a test says.
type world struct {
	t       testing.TB
	root    *node
	address string
	log     *lockedBuffer
	server  *remote.Server
	stop    func()             // ends the endpoint
	asked   chan messages.Wire // what the daemon was asked, except for policies

	mu       sync.Mutex
	policies []messages.NamedPolicy // that it was sent
}

// A script is what the daemon does with a command.
type script func(c *net.UnixConn, m messages.Wire)

// answering returns a script that sends an answer, and closes.
func answering(p messages.Payload) script {
	return func(c *net.UnixConn, m messages.Wire) {
		m.Payload = p
		_ = wire.WriteFrame(c, m) // the other side may have left
	}
}

// newWorld returns a world whose daemon has a script.
func newWorld(t testing.TB, behave script, changes ...func(*world, *remote.Config)) *world {
	root := newRoot(t)
	dir := shortDir(t)
	w := &world{t: t, root: root, log: &lockedBuffer{}, asked: make(chan messages.Wire, 1000)}
	for _, socket := range []string{"vmmd", "console", "stat"} {
		w.listen(filepath.Join(dir, socket+".sock"), func(c *net.UnixConn) { w.hear(c, behave) })
	}
	spool, err := remote.OpenSpool(dir, remote.DefaultSpool)
	require.NoError(t, err)
	config := remote.Config{
		Work: func(_ context.Context, _ string, work func()) error { work(); return nil },
		CA:   root.cert, Certificate: root.server(t), Sockets: dir, Spool: spool, Now: time.Now,
		Log:  slog.New(slog.NewTextHandler(w.log, nil)),
		Gate: remote.DefaultGate, Conns: remote.DefaultConns, Patience: remote.DefaultPatience,
	}
	for _, change := range changes {
		change(w, &config)
	}
	w.server = remote.New(config)
	w.serve()
	return w
}

// shortDir returns a directory whose name is short enough for sockets.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "rm")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (w *world) serve() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { w.server.Serve(ctx, l) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		serving.Wait()
	})
	w.t.Cleanup(w.stop)
}

// listen opens a socket of the daemon.
func (w *world) listen(path string, hear func(*net.UnixConn)) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(w.t, err)
	var serving sync.WaitGroup
	var conns sync.Map
	serving.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			serving.Go(func() {
				defer func() { _ = c.Close() }()
				hear(c)
			})
		}
	})
	w.t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { return c.(net.Conn).Close() == nil || true })
		serving.Wait()
	})
}

// hear serves one connection at the daemon.
func (w *world) hear(c *net.UnixConn, behave script) {
	for {
		frame, err := wire.ReadFrame(c, wire.MaxFrame)
		if err != nil {
			return
		}
		m, err := wire.Decode(frame)
		if err != nil {
			w.t.Errorf("the daemon does not understand: %v", err)
			return
		}
		if policy, ok := m.Payload.(messages.PolicyAdd); ok {
			w.mu.Lock()
			w.policies = append(w.policies, messages.NamedPolicy{Name: m.Header.Name, Policy: policy.Policy})
			w.mu.Unlock()
		} else {
			select {
			case w.asked <- m:
				behave(c, m)
			case <-w.t.Context().Done(): // the test takes no more of them
			}
			return
		}
		answering(messages.SuccessText{Text: "added policy"})(c, m)
	}
}

// dial connects a client that trusts every server.
func (w *world) dial(own tls.Certificate) (*tls.Conn, error) {
	raw, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = raw.Close() })
	c := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true})
	require.NoError(w.t, c.SetDeadline(time.Now().Add(limit)))
	return c, c.Handshake()
}

// connect connects a client that the endpoint lets in.
func (w *world) connect(own tls.Certificate) *tls.Conn {
	w.t.Helper()
	c, err := w.dial(own)
	require.NoError(w.t, err)
	return c
}

// ask connects a client that only reads: it returns the first answer, or why there is none.
func (w *world) ask(own tls.Certificate) (messages.Wire, error) {
	c, err := w.dial(own)
	if err != nil {
		return messages.Wire{}, err
	}
	defer func() { _ = c.Close() }()
	return read(c)
}

func read(c io.Reader) (messages.Wire, error) {
	frame, err := wire.ReadFrame(c, wire.MaxFrame)
	if err != nil {
		return messages.Wire{}, err
	}
	return wire.Decode(frame)
}

// refusal returns the text of the failure with which the connection ends.
func (w *world) refusal(own tls.Certificate) string {
	w.t.Helper()
	c := w.connect(own)
	defer func() { _ = c.Close() }()
	m, err := read(c)
	require.NoError(w.t, err)
	require.IsType(w.t, messages.Failure{}, m.Payload)
	_, err = c.Read(make([]byte, 1))
	require.Equal(w.t, io.EOF, err)
	return string(m.Payload.(messages.Failure).Text)
}

// A lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// frame is a chunk of any length.
func frame(chunk []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(chunk))), chunk...)
}

// eventually polls for something that sends no notice.
func eventually(t testing.TB, what string, true func() bool) {
	t.Helper()
	require.Eventually(t, true, limit, 2*time.Millisecond, what)
}

// openAudit opens a file as an audit log.
func openAudit(path string) (*remote.Audit, error) {
	return remote.OpenAudit(func() (*os.File, error) { return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) })
}

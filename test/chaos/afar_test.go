package chaos

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
)

// An endpoint is the program in front of the daemon of a host, for clients on other machines.
type endpoint struct {
	h     *host
	root  *certificate.Authority
	key   crypto.Signer // of all certificates of clients
	port  int
	pid   int
	ended <-chan unix.WaitStatus
}

// certificatesLast is longer than any siege.
const certificatesLast = 24 * time.Hour

// startEndpoint starts an endpoint that listens at a port of 127.0.0.1.
func (h *host) startEndpoint(port int) *endpoint {
	h.t.Helper()
	e := &endpoint{h: h, key: newKey(h), port: port}
	var err error
	e.root, err = certificate.NewRoot("root", newKey(h), time.Now(), certificatesLast)
	require.NoError(h.t, err)
	key := newKey(h)
	server, err := e.root.IssueServer("server", key.Public(), time.Now(), certificatesLast)
	require.NoError(h.t, err)
	text, err := certificate.EncodeKey(key)
	require.NoError(h.t, err)
	for name, contents := range map[string][]byte{"cacert.pem": e.root.Chain.Encode(), "server.pem": server.Encode(), "server.key": text} {
		require.NoError(h.t, os.WriteFile(h.path(name), contents, 0o600))
	}
	e.start()
	return e
}

func newKey(h *host) crypto.Signer {
	key, err := certificate.Ed25519.Generate()
	require.NoError(h.t, err)
	return key
}

func (e *endpoint) start() {
	e.h.t.Helper()
	log, err := os.OpenFile(e.h.path("endpoint.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(e.h.t, err)
	defer log.Close()
	c := exec.Command(filepath.Join(killable, "albatross-tls-endpoint"),
		e.h.path("cacert.pem"), e.h.path("server.pem"), e.h.path("server.key"),
		"--tmpdir", e.h.dir, "--spool", e.h.dir, "--ip", "127.0.0.1", "--port", fmt.Sprint(e.port))
	c.Stderr = log
	e.pid, e.ended = e.h.spawn(c)
	e.h.until("the endpoint listens", func() bool {
		var conn net.Conn
		e.h.space.Do(func() { conn, err = net.DialTimeout("tcp4", e.address(), patience) })
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
}

func (e *endpoint) address() string { return fmt.Sprintf("127.0.0.1:%d", e.port) }

// kill ends the endpoint, and waits for that.
func (e *endpoint) kill() {
	_ = unix.Kill(e.pid, unix.SIGKILL)
	<-e.ended
}

// session begins a session of the root, whose names are those of the host.
func (e *endpoint) session(ctx context.Context) (s *client.Session, err error) {
	chain, err := e.root.IssueSession(e.key.Public(), time.Now(), time.Hour)
	require.NoError(e.h.t, err)
	shown := tls.Certificate{PrivateKey: e.key}
	for _, c := range chain {
		shown.Certificate = append(shown.Certificate, c.Raw)
	}
	e.h.space.Do(func() {
		s, _, err = client.DialSession(ctx, client.Endpoint{
			Address: e.address(), Authority: e.root.Chain,
			Choose: func(bool) (tls.Certificate, error) { return shown, nil },
		})
	})
	return s, err
}

// converse begins a conversation in the session of a caller, which may have to be a new one.
func (c *caller) converse(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	if c.session != nil {
		if conn := c.session.Open(at); conn != nil {
			return conn, nil
		}
		_ = c.session.Close() // it was of no use any more
		c.session = nil
	}
	session, err := c.afar.session(ctx)
	if err != nil {
		return nil, err
	}
	c.session = session
	return session.Open(at), nil
}

package remote_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
)

// hasty sets a gate with few places and short deadlines.
func hasty(change func(*remote.GateLimits)) func(*world, *remote.Config) {
	return func(_ *world, c *remote.Config) {
		c.Gate = remote.GateLimits{Handshakes: 8, Large: 1, Silence: 50 * time.Millisecond, Patience: 300 * time.Millisecond, LargePatience: 300 * time.Millisecond}
		change(&c.Gate)
	}
}

// requireCut checks that the endpoint closes a connection.
func requireCut(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(limit)))
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	require.False(t, err != nil && errors.As(err, &timeout) && timeout.Timeout(), "the connection is still open")
}

// TestStrangersWhoStay: a client that sends nothing, half of a message, or garbage loses its
// connection. Meanwhile all others must wait, but not for long.
func TestStrangersWhoStay(t *testing.T) {
	hello := clientHello(t)
	garbage := make([]byte, 1000)
	for i := range garbage {
		garbage[i] = byte(rand.Uint32())
	}
	for title, say := range map[string][]byte{
		"nothing":      nil,
		"one byte":     hello[:1],
		"half a hello": hello[:len(hello)/2],
		"a hello":      hello,
		"garbage":      garbage,
		"http":         []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"zeros":        make([]byte, 70_000),
		"many hellos":  bytes.Repeat(hello, 100),
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, answering(messages.SuccessEmpty{}), hasty(func(l *remote.GateLimits) { l.Handshakes = 2 }))
			var strangers []net.Conn
			for range 4 {
				c, err := net.Dial("tcp", w.address)
				require.NoError(t, err)
				defer c.Close()
				_, _ = c.Write(say) // the endpoint may close the connection before that ends
				strangers = append(strangers, c)
			}
			own := w.root.leaf(t, "x", info).presented()
			eventually(t, "somebody else is served", func() bool { // a slow machine needs more than one try
				m, err := w.ask(own)
				return err == nil && m.Payload == (messages.SuccessEmpty{})
			})
			for _, c := range strangers {
				requireCut(t, c)
			}
			require.Len(t, bytes.Split([]byte(w.log.String()), []byte("\n")), 2, "one line in the log: %s", w.log)
		})
	}
}

// dialFrom connects from an address of loopback.
func (w *world) dialFrom(address string) net.Conn {
	w.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := dialer.Dial("tcp", w.address)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestStrangersWithAllPlaces stay for ever, and keep out neither clients of other addresses nor
// those of their own.
func TestStrangersWithAllPlaces(t *testing.T) {
	const places = 8
	own := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"}
	for title, addresses := range map[string][]string{
		"of four other addresses": own,
		"of the same address":     {"127.0.0.1"},
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, answering(messages.SuccessEmpty{}), hasty(func(l *remote.GateLimits) {
				l.Handshakes, l.Patience = places, time.Hour
			}))
			hello := clientHello(t)
			var strangers []net.Conn
			for i := range places {
				c := w.dialFrom(addresses[i%len(addresses)])
				_, err := c.Write(hello[:len(hello)/2])
				require.NoError(t, err)
				strangers = append(strangers, c)
			}
			client := w.root.leaf(t, "x", info).presented()
			served := 0
			eventually(t, "clients are served", func() bool {
				m, err := w.ask(client)
				if err == nil && m.Payload == (messages.SuccessEmpty{}) {
					served++
				}
				return served == 2*places
			})
			cut := 0
			for _, c := range strangers {
				require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
				_, err := c.Read(make([]byte, 1))
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					cut++
				}
			}
			require.Positive(t, cut)
			require.Contains(t, w.log.String(), "its address has most")
		})
	}
}

// TestChainsAreVerifiedInTurns of the addresses of the clients. A client that does not get a turn
// is refused.
func TestChainsAreVerifiedInTurns(t *testing.T) {
	var turns []string
	refuse := errors.New("no turn")
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) {
		c.Work = func(_ context.Context, whose string, work func()) error {
			if turns = append(turns, whose); len(turns) > 1 {
				return refuse
			}
			work()
			return nil
		}
	})
	client := w.root.leaf(t, "x", info).presented()
	_, err := w.ask(client)
	require.NoError(t, err)
	_, err = w.ask(client)
	require.Error(t, err)
	eventually(t, "it is logged", func() bool { return strings.Contains(w.log.String(), refuse.Error()) })
	require.Equal(t, []string{"127.0.0.1", "127.0.0.1"}, turns)
}

// TestACrowdOfOneAddress: a client is refused while all others of its address are getting on with
// their handshakes.
func TestACrowdOfOneAddress(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}), hasty(func(l *remote.GateLimits) {
		l.Handshakes, l.Patience, l.Silence = 2, time.Hour, time.Hour
	}))
	client := w.root.leaf(t, "x", info).presented()
	var strangers []net.Conn
	eventually(t, "there is no room", func() bool { // which of these the client meets is not known
		strangers = append(strangers, w.dialFrom("127.0.0.1"))
		_, err := w.ask(client)
		return err != nil
	})
	eventually(t, "it is logged", func() bool { return w.log.String() != "" })
	require.Contains(t, w.log.String(), "too many connections are in their handshake")
	for _, c := range strangers {
		require.NoError(t, c.Close())
	}
	eventually(t, "there is room again", func() bool {
		_, err := w.ask(client)
		return err == nil
	})
}

// largeLeaf returns a client whose certificate has about that many bytes.
func largeLeaf(t testing.TB, n *node, size int, command messages.UnikernelCreate) *node {
	command.Config.Image = make([]byte, size)
	return n.leaf(t, "x", command)
}

// TestLargeCertificatesTakeTurns: a client that stops in the middle of one loses its connection,
// and keeps out only clients with a large one.
func TestLargeCertificatesTakeTurns(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}), hasty(func(l *remote.GateLimits) { l.Patience = limit }))
	leaf := largeLeaf(t, w.root, 200_000, create(5, false))
	small := w.root.leaf(t, "x", info)
	raw, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	stopping := &stops{Conn: raw, left: 100_000, stopped: make(chan struct{}), end: make(chan struct{})}
	var stuck sync.WaitGroup
	stuck.Go(func() {
		_ = tls.Client(stopping, &tls.Config{Certificates: []tls.Certificate{leaf.presented()}, InsecureSkipVerify: true}).Handshake()
	})
	<-stopping.stopped
	_, err = w.ask(small.presented())
	require.NoError(t, err)
	eventually(t, "another large one is served", func() bool { // a slow machine needs more than one try
		m, err := w.ask(leaf.presented())
		return err == nil && m.Payload == (messages.SuccessEmpty{})
	})
	requireCut(t, raw)
	close(stopping.end)
	stuck.Wait()

	follower := w.root.leaf(t, "x", messages.StatsSubscribe{}, func(_ testing.TB, c *x509.Certificate) {
		c.DNSNames = []string{string(bytes.Repeat([]byte("x"), 100_000))}
	})
	require.Contains(t, w.refusal(follower.presented()), "too large for somebody who stays")
}

// A stops is a connection that sends only a number of bytes, and then nothing.
type stops struct {
	net.Conn
	left    int
	stopped chan struct{}
	end     chan struct{}
}

func (s *stops) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b[:min(len(b), s.left)])
	if s.left -= n; n < len(b) {
		close(s.stopped)
		<-s.end
		return n, io.ErrClosedPipe
	}
	return n, err
}

// clientHello returns the first bytes of a client.
func clientHello(t *testing.T) []byte {
	here, there := net.Pipe()
	var greeting sync.WaitGroup
	greeting.Go(func() { _ = tls.Client(here, &tls.Config{InsecureSkipVerify: true}).Handshake() })
	hello := make([]byte, 4096)
	n, err := there.Read(hello)
	require.NoError(t, err)
	require.NoError(t, there.Close())
	greeting.Wait()
	return hello[:n]
}

// TestCertificatesAboveTheLimitOfTLS: a program that was built for it accepts them, and another one
// logs what its operator can do.
func TestCertificatesAboveTheLimitOfTLS(t *testing.T) {
	w := newWorld(t, answering(messages.SuccessEmpty{}))
	leaf := largeLeaf(t, w.root, 16<<20-8<<10, create(5, false))
	m, err := w.ask(leaf.presented())
	if err == nil {
		require.Equal(t, messages.SuccessEmpty{}, m.Payload)
		require.Len(t, (<-w.asked).Payload.(messages.UnikernelCreate).Config.Image, 16<<20-8<<10)
		return
	}
	require.ErrorContains(t, err, "tls: internal error")
	eventually(t, "it is logged", func() bool { return w.log.String() != "" })
	require.Contains(t, w.log.String(), "rebuild it by make build")
	t.Skip("crypto/tls accepts only 256 KiB of certificates: run the tests by make test, or with -overlay (see package overlay)")
}

package e2e

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// dial opens a connection on which a test sends what it likes.
func (h *host) dial(socket string) *net.UnixConn {
	h.t.Helper()
	c, err := net.Dial("unix", h.socket(socket))
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = c.Close() })
	goesOn(h.t, c)
	return c.(*net.UnixConn)
}

// goesOn sets the deadline of the next step on a connection. A stream as a whole may take longer,
// as long as it goes on.
func goesOn(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
}

// framed returns a frame with any contents.
func framed(contents []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(contents))), contents...)
}

// say sends a command in a frame.
func say(t *testing.T, c net.Conn, name string, command messages.Command) {
	t.Helper()
	header := messages.Header{Version: messages.Version5, Sequence: 7, Name: parse(t, name)}
	require.NoError(t, wire.WriteFrame(c, messages.Wire{Header: header, Payload: command}))
}

func parse(t *testing.T, name string) messages.Name {
	t.Helper()
	n, err := messages.ParseName(name)
	require.NoError(t, err)
	return n
}

// hear reads a frame, and decodes it.
func hear(t *testing.T, c net.Conn) messages.Wire {
	t.Helper()
	frame, err := wire.ReadFrame(c, wire.MaxFrame)
	require.NoError(t, err)
	m, err := wire.Decode(frame)
	require.NoError(t, err)
	requirePublic(t, m.Payload)
	return m
}

// requireEnds checks that the daemon closes a connection.
func requireEnds(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	require.True(t, err == nil || errors.Is(err, syscall.ECONNRESET), "%v", err)
}

// isOpen reports whether the daemon keeps a connection open for a moment.
func isOpen(t *testing.T, c net.Conn) bool {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// A follower has subscribed to a console.
type follower struct {
	t    *testing.T
	conn *net.UnixConn
}

func (h *host) subscribe(name string, count int) *follower {
	h.t.Helper()
	f := &follower{h.t, h.dial("console")}
	say(h.t, f.conn, name, messages.ConsoleSubscribe{Count: messages.Some(count)})
	require.IsType(h.t, messages.SuccessText{}, hear(h.t, f.conn).Payload)
	return f
}

func (f *follower) line() string {
	f.t.Helper()
	return hear(f.t, f.conn).Payload.(messages.DataConsole).Line
}

package gateway

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// connected returns a connection of the daemon, and the end of its client.
func connected(t *testing.T, codec Codec) (*Conn, *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		c, err := net.FileConn(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	limits := Limits{Frame: 1 << 20, Memory: NewMemory(1 << 20), Patience: time.Minute}
	return newConn(ends[0], messages.Peer{}, codec, limits), ends[1]
}

// asks sends a command, which the daemon reads.
func asks(t *testing.T, c *Conn, client net.Conn, command []byte) {
	t.Helper()
	_, err := client.Write(command)
	require.NoError(t, err)
	_, err = c.Read()
	require.NoError(t, err)
}

func policyInfo(t *testing.T, header messages.Header) []byte {
	t.Helper()
	command, err := wire.AppendFrame(nil, messages.Wire{Header: header, Payload: messages.PolicyInfo{}})
	require.NoError(t, err)
	return command
}

// TestWhoLosesItsPlace: the client reads that in the form in which it has asked.
func TestWhoLosesItsPlace(t *testing.T) {
	header := messages.Header{Version: messages.Version3, Sequence: 7, Name: messages.Name{Label: "x"}}
	answer := messages.Wire{Header: header, Payload: messages.SuccessText{Text: "before"}}
	lost := messages.Wire{Header: header, Payload: messages.Failure{Text: lostPlace}}
	for title, test := range map[string]struct {
		before func(*Conn, *net.UnixConn)
		hears  []messages.Wire
	}{
		"it has said nothing": {func(*Conn, *net.UnixConn) {}, []messages.Wire{
			{Header: messages.Header{Version: messages.CurrentVersion}, Payload: messages.Failure{Text: tooMany}},
		}},
		"it has asked": {func(c *Conn, client *net.UnixConn) {
			asks(t, c, client, policyInfo(t, header))
		}, []messages.Wire{lost}},
		"it has been answered a long time ago": {func(c *Conn, client *net.UnixConn) {
			asks(t, c, client, policyInfo(t, header))
			require.NoError(t, c.Write([]messages.Wire{answer}))
			require.NoError(t, c.net.SetWriteDeadline(time.Now().Add(-time.Second)))
		}, []messages.Wire{answer, lost}},
		"it has been answered, and asks again": {func(c *Conn, client *net.UnixConn) {
			asks(t, c, client, policyInfo(t, header))
			require.NoError(t, c.Write([]messages.Wire{answer}))
			_, err := client.Write(policyInfo(t, header))
			require.NoError(t, err)
		}, []messages.Wire{answer, lost}},
	} {
		t.Run(title, func(t *testing.T) {
			c, client := connected(t, Wire)
			test.before(c, client)
			c.reject()
			for _, want := range test.hears {
				frame, err := wire.ReadFrame(client, wire.MaxFrame)
				require.NoError(t, err)
				m, err := wire.Decode(frame)
				require.NoError(t, err)
				require.Equal(t, want, m)
			}
			require.Error(t, c.Write([]messages.Wire{answer}), "nothing is said behind that")
			_ = c.Close() // it is closed already
		})
	}
}

// TestWhoLosesItsPlaceOnEvents: the client reads that in the protocol of that socket.
func TestWhoLosesItsPlaceOnEvents(t *testing.T) {
	c, client := connected(t, Control)
	request, err := control.AppendRequest(nil, messages.Name{Path: "a", Label: "x"}, messages.EventsSubscribe{})
	require.NoError(t, err)
	asks(t, c, client, request)
	c.reject()
	said, err := io.ReadAll(client)
	require.NoError(t, err)
	next, err := control.NewStream(bytes.NewReader(said)).Next()
	require.NoError(t, err)
	require.Equal(t, messages.Failure{Text: lostPlace}, next)
	_ = c.Close() // it is closed already
}

// TestWhoLosesItsPlaceAndReadsNothing: the daemon does not wait for the client, and writes nothing
// into the middle of another message.
func TestWhoLosesItsPlaceAndReadsNothing(t *testing.T) {
	header := messages.Header{Version: messages.CurrentVersion, Sequence: 7}
	long := messages.Wire{Header: header, Payload: messages.SuccessImage{Image: make([]byte, 8<<20)}}
	c, client := connected(t, Wire)
	asks(t, c, client, policyInfo(t, header))
	written := make(chan error, 1)
	go func() { written <- c.Write([]messages.Wire{long}) }()
	_, err := io.ReadFull(client, make([]byte, 1)) // the answer is being written
	require.NoError(t, err)
	c.reject()
	require.Error(t, <-written)
	said, err := io.ReadAll(client)
	require.NoError(t, err)
	require.NotContains(t, string(said), string(lostPlace))
	_ = c.Close() // it is closed already
}

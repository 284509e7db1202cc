package gateway_test

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

// A part is what one ReadStream has returned.
type part struct {
	data string
	err  error
}

// streams serves connections by reading one command and the stream after it.
func streams(t *testing.T, l gateway.Limits) (*server, <-chan part) {
	parts := make(chan part, 100)
	s := serve(t, l, func(c *gateway.Conn) {
		defer c.Close()
		if _, err := c.Read(); err != nil {
			parts <- part{"", err}
			return
		}
		b := make([]byte, 64)
		for {
			n, err := c.ReadStream(b)
			parts <- part{string(b[:n]), err}
			if err != nil {
				return
			}
		}
	})
	return s, parts
}

func TestStreamFollowsACommand(t *testing.T) {
	s, parts := streams(t, limits())
	c := s.dial()
	_, err := c.Write(frame(t, messages.BlockSet{}))
	require.NoError(t, err)
	require.NoError(t, wire.WriteChunk(c, []byte("contents")))
	require.Equal(t, part{"contents", nil}, within(t, parts, "the first chunk arrives"))
	require.NoError(t, wire.WriteEnd(c))
	require.Equal(t, part{"", io.EOF}, within(t, parts, "the end arrives"))
}

func TestStreamThatIsCutOff(t *testing.T) {
	s, parts := streams(t, limits())
	c := s.dial()
	_, err := c.Write(append(frame(t, messages.BlockSet{}), "\x00\x00\x00\x09abc"...))
	require.NoError(t, err)
	require.Equal(t, part{"abc", nil}, within(t, parts, "what there is"))
	require.NoError(t, c.Close())
	require.Equal(t, part{"", io.ErrUnexpectedEOF}, within(t, parts, "it is cut off"))
}

// TestStreamThatStops: a client that stops in the middle does not keep the connection for ever.
func TestStreamThatStops(t *testing.T) {
	l := limits()
	l.Patience = soon
	s, parts := streams(t, l)
	c := s.dial()
	_, err := c.Write(frame(t, messages.BlockSet{}))
	require.NoError(t, err)
	require.ErrorIs(t, within(t, parts, "the stream is given up").err, os.ErrDeadlineExceeded)
}

// TestStreamIsClosed: Close ends a ReadStream that is under way.
func TestStreamIsClosed(t *testing.T) {
	conns := make(chan *gateway.Conn, 1)
	parts := make(chan part, 1)
	s := serve(t, limits(), func(c *gateway.Conn) {
		_, err := c.Read()
		require.NoError(t, err)
		conns <- c
		n, err := c.ReadStream(make([]byte, 1))
		parts <- part{string(make([]byte, n)), err}
	})
	_, err := s.dial().Write(frame(t, messages.BlockSet{}))
	require.NoError(t, err)
	require.NoError(t, within(t, conns, "the command arrives").Close())
	require.Equal(t, part{"", io.ErrUnexpectedEOF}, within(t, parts, "it ends"))
}

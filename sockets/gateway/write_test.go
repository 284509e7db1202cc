package gateway_test

import (
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

// image returns an answer that is larger than any socket buffer.
func image() messages.Wire {
	return messages.Wire{
		Header:  messages.Header{Version: messages.Version5, Sequence: 7},
		Payload: messages.SuccessImage{Image: make([]byte, 8*mb)},
	}
}

func line() messages.Wire {
	return messages.Wire{
		Header:  messages.Header{Version: messages.Version5},
		Payload: messages.DataConsole{Time: time.Unix(0, 0), Line: "a line of a console that is rather long"},
	}
}

// writes serves a client by writing to it, and returns how that has ended.
func writes(t *testing.T, l gateway.Limits, list []messages.Wire) (*server, chan error) {
	ended := make(chan error, 1)
	return serve(t, l, func(c *gateway.Conn) { ended <- c.Write(list) }), ended
}

// TestWrite: several messages arrive in order.
func TestWrite(t *testing.T) {
	s, ended := writes(t, limits(), []messages.Wire{image(), line(), line()})
	c := s.dial()
	for _, want := range []messages.Wire{image(), line(), line()} {
		b, err := wire.ReadFrame(c, wire.MaxFrame)
		require.NoError(t, err)
		got, err := wire.Decode(b)
		require.NoError(t, err)
		require.Equal(t, want.Header, got.Header)
		require.IsType(t, want.Payload, got.Payload)
	}
	require.NoError(t, within(t, ended, "the answer is written"))
}

// TestFit: infos are sent in the form that the client has asked for.
func TestFit(t *testing.T) {
	x, err := messages.ParseName("x")
	require.NoError(t, err)
	infos := messages.Wire{
		Header:  messages.Header{Version: messages.Version4, Name: x},
		Payload: messages.SuccessInfos{Form: 3, List: []messages.NamedInfo{{Name: x, Info: messages.Info{CPUIDs: []int{2, 1}, CPUs: 2}}}},
	}
	s, ended := writes(t, limits(), []messages.Wire{infos})
	b, err := wire.ReadFrame(s.dial(), wire.MaxFrame)
	require.NoError(t, err)
	got, err := wire.Decode(b)
	require.NoError(t, err)
	require.Equal(t, 3, got.Payload.(messages.SuccessInfos).Form)
	require.Equal(t, []int{1}, got.Payload.(messages.SuccessInfos).List[0].Info.CPUIDs)
	require.NoError(t, within(t, ended, "the answer is written"))
}

// TestAnswerNotRead: a client that does not read its answer loses its connection.
func TestAnswerNotRead(t *testing.T) {
	l := limits()
	l.Patience = soon
	s, ended := writes(t, l, []messages.Wire{image()})
	s.dial()
	require.ErrorIs(t, within(t, ended, "the client is cut off"), os.ErrDeadlineExceeded)
}

// TestSlowReader: a client may take long to read an answer, as long as it reads on.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	l := limits()
	l.Patience = 50 * soon
	s, ended := writes(t, l, []messages.Wire{image()})
	c := s.dial()
	begin := time.Now()
	for range 15 {
		<-time.After(l.Patience / 10)
		_, err := io.CopyN(io.Discard, c, mb/2)
		require.NoError(t, err)
	}
	require.Greater(t, time.Since(begin), l.Patience)
	_, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	require.NoError(t, within(t, ended, "the answer is written"))
}

// TestSubscriber: a subscriber may freeze, and gets all messages when it reads on.
func TestSubscriber(t *testing.T) {
	const n = 20_000
	l := limits()
	l.Patience = soon / 10
	lines := make([]messages.Wire, n)
	for i := range lines {
		lines[i] = line()
	}
	s, ended := writes(t, l, lines)
	c := s.dial()
	select {
	case err := <-ended:
		require.FailNow(t, "the subscriber is cut off", "%v", err)
	case <-time.After(4 * l.Patience):
	}
	for range n {
		_, err := wire.ReadFrame(c, wire.MaxChunk)
		require.NoError(t, err)
	}
	require.NoError(t, within(t, ended, "all is written"))
}

// TestClose: it ends what is under way, and any number of goroutines may call it at once.
func TestClose(t *testing.T) {
	conns, ended := make(chan *gateway.Conn, 1), make(chan error, 2)
	s := serve(t, limits(), func(c *gateway.Conn) {
		var both sync.WaitGroup
		both.Go(func() { _, err := c.Read(); ended <- err })
		both.Go(func() { ended <- c.Write([]messages.Wire{image()}) })
		conns <- c
		both.Wait()
	})
	client := s.dial()
	conn := within(t, conns, "the client is served")
	_, err := io.ReadFull(client, make([]byte, 1)) // the answer is being written
	require.NoError(t, err)
	var closers sync.WaitGroup
	for range 4 {
		closers.Go(func() { _ = conn.Close() })
	}
	closers.Wait()
	for range 2 {
		require.Error(t, within(t, ended, "Read and Write end"))
	}
	_, err = conn.Read()
	require.ErrorIs(t, err, io.EOF)
	require.Error(t, conn.Write([]messages.Wire{line()}))
	require.NoError(t, conn.Close())
}

// TestBothWays: reading and writing do not disturb each other.
func TestBothWays(t *testing.T) {
	const n = 500
	s := serve(t, limits(), func(c *gateway.Conn) {
		var both sync.WaitGroup
		both.Go(func() {
			for range n {
				if _, err := c.Read(); err != nil {
					t.Error(err)
					return
				}
			}
		})
		both.Go(func() {
			for range n {
				if err := c.Write([]messages.Wire{line()}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		both.Wait()
	})
	c := s.dial()
	command := frame(t, messages.PolicyInfo{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for range n {
			if _, err := c.Write(command); err != nil {
				t.Error(err)
			}
		}
	})
	for range n {
		_, err := wire.ReadFrame(c, wire.MaxChunk)
		require.NoError(t, err)
	}
	sending.Wait()
}

// TestUnencodable: a bug of ours is reported, and nothing of the message is sent.
func TestUnencodable(t *testing.T) {
	s, ended := writes(t, limits(), []messages.Wire{{Payload: messages.SuccessEmpty{}}}) // it has no version
	c := s.dial()
	require.ErrorContains(t, within(t, ended, "it is refused"), "internal error: cannot encode an answer")
	requireClosed(t, c)
}

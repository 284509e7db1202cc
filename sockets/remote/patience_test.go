package remote_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
)

// step is the longest wait of an impatient endpoint.
const step = 500 * time.Millisecond

func impatient(_ *world, c *remote.Config) {
	c.Patience = remote.Patience{Step: step, Drain: step, Leave: step, Idle: step}
}

// TestClientsThatStop in the middle of a message lose their connection, and the daemon sees that it
// was cut off.
func TestClientsThatStop(t *testing.T) {
	for title, tc := range map[string]struct {
		command messages.Command
		answer  string
	}{
		"in an image":        {create(5, false), "cannot receive the image"},
		"in contents":        {messages.BlockSet{}, "cannot receive the contents"},
		"in something wrong": {messages.BlockSet{}, "invalid label"},
	} {
		t.Run(title, func(t *testing.T) {
			seen := make(chan error, 1)
			w := newWorld(t, func(c *net.UnixConn, _ messages.Wire) {
				_, err := io.Copy(io.Discard, wire.NewChunkReader(c))
				seen <- err
			}, impatient)
			name := "x"
			if strings.Contains(title, "wrong") {
				name = "bad_name"
			}
			c := w.connect(w.root.leaf(t, name, tc.command).presented())
			_, err := c.Write([]byte{0, 1, 0, 0, 'x'})
			require.NoError(t, err)
			m, err := read(c)
			require.NoError(t, err)
			require.Contains(t, m.Payload.(messages.Failure).Text, tc.answer)
			requireCut(t, c.NetConn())
			if title == "in contents" {
				require.Equal(t, io.ErrUnexpectedEOF, <-seen)
			}
		})
	}
}

// TestClientsThatDoNotRead lose their connection, too, except subscribers.
func TestClientsThatDoNotRead(t *testing.T) {
	for title, tc := range map[string]struct {
		command messages.Command
		answers []messages.Payload
	}{
		"an image": {messages.UnikernelGet{Form: 3}, []messages.Payload{messages.SuccessImage{Image: make([]byte, 64<<20)}}},
		"a dump":   {messages.BlockDump{}, dump(1000)},
	} {
		t.Run(title, func(t *testing.T) {
			ended := make(chan struct{})
			w := newWorld(t, func(c *net.UnixConn, m messages.Wire) {
				defer close(ended)
				for _, m.Payload = range tc.answers {
					if wire.WriteFrame(c, m) != nil {
						return
					}
				}
				t.Error("all of it has been taken")
			}, impatient)
			w.connect(w.root.leaf(t, "x", tc.command).presented())
			<-ended
		})
	}
}

// dump returns a dump of n chunks.
func dump(n int) []messages.Payload {
	list := []messages.Payload{messages.SuccessDump{}}
	for range n {
		list = append(list, messages.DataBlock{Chunk: messages.Some(make([]byte, 64<<10))})
	}
	return list
}

// TestSubscribersMayTakeTheirTime: one that does not read for a while misses none of its messages.
func TestSubscribersMayTakeTheirTime(t *testing.T) {
	const lines = 50_000
	written := make(chan error, 1)
	w := newWorld(t, func(c *net.UnixConn, m messages.Wire) {
		m.Payload = messages.SuccessText{Text: "subscribed"}
		err := wire.WriteFrame(c, m)
		m.Payload = messages.DataConsole{Time: time.Unix(1, 0), Line: strings.Repeat("x", 500)}
		for i := 0; i < lines && err == nil; i++ {
			err = wire.WriteFrame(c, m)
		}
		written <- err
	}, impatient)
	c := w.connect(w.root.leaf(t, "x", messages.ConsoleSubscribe{Count: messages.Some(1)}).presented())
	select {
	case err := <-written:
		require.NoError(t, err)
		require.Fail(t, "all messages fit into buffers, so that this tests nothing")
	case <-time.After(2 * step): // for all others the step is over
	}
	for range 1 + lines {
		_, err := read(c)
		require.NoError(t, err)
	}
	require.NoError(t, <-written)
	_, err := c.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// TestStop: the endpoint ends at once, whatever its clients and the daemon are doing.
func TestStop(t *testing.T) {
	dir := shortDir(t)
	for _, socket := range []string{"vmmd", "stat"} {
		l, err := net.Listen("unix", filepath.Join(dir, socket+".sock")) // no daemon accepts
		require.NoError(t, err)
		defer l.Close()
	}
	w := newWorld(t, answering(messages.SuccessEmpty{}), func(_ *world, c *remote.Config) { c.Sockets = dir })
	alice := w.root.policy(t, "alice", small)
	w.connect(alice.leaf(t, "x", info).presented())
	for _, command := range []messages.Command{info, messages.StatsSubscribe{}, create(5, false), messages.BlockSet{}} {
		c := w.connect(w.root.leaf(t, "x", command).presented())
		_, err := c.Write([]byte{0, 0, 1, 0, 'x'})
		require.NoError(t, err)
	}
	stranger, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	defer stranger.Close()
	begin := time.Now()
	w.stop()
	require.Less(t, time.Since(begin), limit)
}

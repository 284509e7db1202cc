package client_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// chunks returns a script that sends a part of a dump.
func chunks(list ...string) script {
	return func(t *testing.T, conn net.Conn) {
		for _, chunk := range list {
			sayOnly(messages.DataBlock{Chunk: messages.Some([]byte(chunk))})(t, conn)
		}
	}
}

func inOrder(scripts ...script) script {
	return func(t *testing.T, conn net.Conn) {
		for _, s := range scripts {
			s(t, conn)
		}
	}
}

var endOfDump = sayOnly(messages.DataBlock{})

func TestContents(t *testing.T) {
	c := serve(t, inOrder(chunks("one, ", "", "two, ", "three"), endOfDump))
	require.NoError(t, iotest.TestReader(c.Contents(t.Context()), []byte("one, two, three")))
}

func TestContentsOfNothing(t *testing.T) {
	require.NoError(t, iotest.TestReader(serve(t, endOfDump).Contents(t.Context()), nil))
}

// TestEveryReadYieldsSomething: a read skips an empty chunk, and takes it for no end.
func TestEveryReadYieldsSomething(t *testing.T) {
	r := serve(t, inOrder(chunks("", "one"), endOfDump)).Contents(t.Context())
	n, err := r.Read(make([]byte, 10))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	_, err = r.Read(make([]byte, 10))
	require.Equal(t, io.EOF, err)
}

// TestContentsThatBreakOff: incomplete contents are an error.
func TestContentsThatBreakOff(t *testing.T) {
	for name, c := range map[string]struct {
		script script
		want   string
	}{
		"closed":       {chunks("one"), "the connection was closed"},
		"ended":        {inOrder(chunks("one"), func(_ *testing.T, conn net.Conn) { wire.WriteEnd(conn) }), "the connection was closed"},
		"cut":          {inOrder(chunks("one"), func(_ *testing.T, conn net.Conn) { io.WriteString(conn, "\x00\x00\x00\x09x") }), "unexpected EOF"},
		"a line":       {inOrder(chunks("one"), sayOnly(messages.DataConsole{})), "the stream has a messages.DataConsole in it"},
		"a failure":    {inOrder(chunks("one"), sayOnly(messages.Failure{Text: "bad sector"})), "bad sector"},
		"a long chunk": {inOrder(chunks("one"), func(_ *testing.T, conn net.Conn) { io.WriteString(conn, "\x00\x50\x00\x00") }), "frame is too long"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := io.ReadAll(serve(t, c.script).Contents(t.Context()))
			var broken *client.ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, "one", string(all))
		})
	}
}

// TestADumpMayTakeLong, but each chunk must come in time.
func TestADumpMayTakeLong(t *testing.T) {
	wait := func(d time.Duration) script { return func(*testing.T, net.Conn) { <-time.After(d) } }
	almost := wait(client.AnswerTimeout - time.Second)
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, inOrder(almost, chunks("one"), almost, chunks("two"), almost, endOfDump))
		all, err := io.ReadAll(c.Contents(t.Context()))
		require.NoError(t, err)
		require.Equal(t, "onetwo", string(all))
	})
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, inOrder(almost, chunks("one"), wait(client.AnswerTimeout+time.Second)))
		all, err := io.ReadAll(c.Contents(t.Context()))
		require.ErrorContains(t, err, "the daemon neither takes nor says anything any more")
		require.Equal(t, "one", string(all))
	})
}

func TestCancelADump(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, inOrder(chunks("one"), func(_ *testing.T, conn net.Conn) {
		cancel()
		waitForEnd(conn)
	}))
	_, err := io.ReadAll(c.Contents(ctx))
	require.ErrorIs(t, err, context.Canceled)
}

// TestStreamsThatEndWithAReason: a follower reads the reason that the daemon gives.
func TestStreamsThatEndWithAReason(t *testing.T) {
	ends := sayOnly(messages.Failure{Text: "others follow"})
	for name, next := range map[string]func(*client.Conn) error{
		"a line": func(c *client.Conn) error { _, err := c.NextLine(t.Context()); return err },
		"data":   func(c *client.Conn) error { _, _, err := c.Next(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			var ended *client.Ended
			require.ErrorAs(t, next(serve(t, ends)), &ended)
			require.Equal(t, "others follow", ended.Text)
		})
	}
}

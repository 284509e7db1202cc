package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

var set = messages.BlockSet{}

// zeros yields zeros until it is closed.
type zeros struct{ closed chan struct{} }

func endless() zeros { return zeros{make(chan struct{})} }

func (z zeros) Read(b []byte) (int, error) {
	select {
	case <-z.closed:
		return 0, os.ErrClosed
	default:
		clear(b)
		return len(b), nil
	}
}

func (z zeros) Close() error {
	close(z.closed) // a second close panics
	return nil
}

func takeChunks(t *testing.T, conn net.Conn, n int) {
	for range n {
		if _, err := wire.ReadChunk(conn); err != nil {
			t.Errorf("cannot read a chunk: %v", err)
		}
	}
}

func takeStream(t *testing.T, conn net.Conn) (all []byte) {
	for {
		chunk, err := wire.ReadChunk(conn)
		if errors.Is(err, wire.ErrEnd) {
			return all
		}
		if err != nil || len(chunk) > wire.ChunkSize {
			t.Errorf("a chunk of %d bytes, %v", len(chunk), err)
			return nil
		}
		all = append(all, chunk...)
	}
}

func answer(t *testing.T, conn net.Conn, question messages.Wire, p messages.Payload) {
	question.Payload = p
	say(t, conn, question)
}

func TestUpload(t *testing.T) {
	for _, size := range []int{0, 1, wire.ChunkSize - 1, wire.ChunkSize, wire.ChunkSize + 1, 5*wire.ChunkSize + 7} {
		contents := make([]byte, size)
		for i := range contents {
			contents[i] = byte(rand.Uint32())
		}
		var got []byte
		c := serve(t, func(t *testing.T, conn net.Conn) {
			m := question(t, conn)
			got = takeStream(t, conn)
			answer(t, conn, m, messages.SuccessText{Text: "set block device"})
		})
		success, err := c.Upload(t.Context(), hello, set, io.NopCloser(bytes.NewReader(contents)))
		require.NoError(t, err)
		require.Equal(t, messages.SuccessText{Text: "set block device"}, success)
		require.True(t, bytes.Equal(contents, got), "%d bytes", size)
	}
}

// TestRefusalOfAnUpload: whatever the daemon does after it has refused, the client reads why, and
// sends no more.
func TestRefusalOfAnUpload(t *testing.T) {
	refuse := func(t *testing.T, conn net.Conn) {
		m := question(t, conn)
		takeChunks(t, conn, 2)
		answer(t, conn, m, messages.Failure{Text: "stream exceeds size"})
	}
	for name, after := range map[string]script{
		"closes at once":           func(*testing.T, net.Conn) {},
		"goes on reading":          func(_ *testing.T, conn net.Conn) { waitForEnd(conn) },
		"neither reads nor closes": func(t *testing.T, _ net.Conn) { <-t.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			script := func(t *testing.T, conn net.Conn) { refuse(t, conn); after(t, conn) }
			c, err := client.Dial(t.Context(), listen(t, script))
			require.NoError(t, err)
			defer c.Close()
			requireRefused(t, c, endless())
			requireRefused(t, serve(t, script), endless())
		})
	}
}

func requireRefused(t *testing.T, c *client.Conn, contents io.ReadCloser) {
	_, err := c.Upload(t.Context(), hello, set, contents)
	var refusal *client.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "stream exceeds size", refusal.Text)
}

// TestRefusalWhileContentsAreWaitedFor: the client does not wait for more contents from a program
// that writes nothing.
func TestRefusalWhileContentsAreWaitedFor(t *testing.T) {
	contents, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	requireRefused(t, serve(t, reply(messages.Failure{Text: "stream exceeds size"})), contents)
}

func TestUploadsThatGoWrong(t *testing.T) {
	for name, c := range map[string]struct {
		script script
		want   string
	}{
		"closed at once":  {func(*testing.T, net.Conn) {}, "closed without an answer"},
		"closed":          {func(t *testing.T, conn net.Conn) { question(t, conn) }, "closed without an answer"},
		"closed midway":   {func(t *testing.T, conn net.Conn) { question(t, conn); takeChunks(t, conn, 3) }, "closed without an answer"},
		"end":             {func(t *testing.T, conn net.Conn) { question(t, conn); wire.WriteEnd(conn) }, "closed without an answer"},
		"cut":             {func(t *testing.T, conn net.Conn) { question(t, conn); io.WriteString(conn, "\x00\x00") }, "unexpected EOF"},
		"garbage":         {func(t *testing.T, conn net.Conn) { question(t, conn); io.WriteString(conn, "\x00\x00\x00\x01x") }, "message"},
		"early success":   {reply(messages.SuccessEmpty{}), "the answer came before all was sent"},
		"data":            {reply(messages.DataBlock{}), "the answer is a messages.DataBlock"},
		"other question":  {reply(messages.Failure{}, func(m *messages.Wire) { m.Header.Sequence++ }), "the answer is to another question"},
		"other name":      {reply(messages.SuccessEmpty{}, func(m *messages.Wire) { m.Header.Name.Label = "x" }), "the answer is to another question"},
		"an endless text": {func(t *testing.T, conn net.Conn) { question(t, conn); io.WriteString(conn, "\x7f\xff\xff\xff") }, "frame is too long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, c.script).Upload(t.Context(), hello, set, endless())
			var broken *client.ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestDaemonThatLeavesAnUpload: contents that were not read turn the end of the connection into a
// reset. The user reads the same for both.
func TestDaemonThatLeavesAnUpload(t *testing.T) {
	for range 20 {
		c, err := client.Dial(t.Context(), listen(t, func(t *testing.T, conn net.Conn) { question(t, conn) }))
		require.NoError(t, err)
		_, err = c.Upload(t.Context(), hello, set, endless())
		c.Close()
		require.ErrorIs(t, err, client.ErrNoAnswer)
	}
}

// failing yields some bytes, and then an error.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func (f *failing) Close() error { return nil }

// TestContentsThatCannotBeRead: the client returns the error unchanged, even one that looks like an
// end, and the daemon does not see an end.
func TestContentsThatCannotBeRead(t *testing.T) {
	for _, want := range []error{errors.New("bad sector"), io.ErrUnexpectedEOF} {
		end := make(chan error, 1)
		c := serve(t, func(t *testing.T, conn net.Conn) {
			question(t, conn)
			takeChunks(t, conn, 1)
			_, err := wire.ReadChunk(conn)
			end <- err
		})
		contents := bytes.NewReader(make([]byte, wire.ChunkSize+1))
		_, err := c.Upload(t.Context(), hello, set, &failing{contents, want})
		require.Equal(t, want, err)
		require.Equal(t, io.ErrUnexpectedEOF, <-end)
	}
}

func TestUploadThatCannotBeSaid(t *testing.T) {
	c := serve(t, func(_ *testing.T, conn net.Conn) { waitForEnd(conn) })
	contents := endless()
	_, err := c.Upload(t.Context(), hello, nil, contents)
	require.ErrorContains(t, err, "internal error")
	<-contents.closed
}

func TestCancelAnUpload(t *testing.T) {
	for name, waiting := range map[string]script{
		"while it is sent":  func(_ *testing.T, conn net.Conn) { waitForEnd(conn) },
		"while it is stuck": func(t *testing.T, _ net.Conn) { <-t.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := serve(t, func(t *testing.T, conn net.Conn) {
				question(t, conn)
				cancel()
				waiting(t, conn)
			})
			_, err := c.Upload(ctx, hello, set, endless())
			require.ErrorIs(t, err, context.Canceled)
		})
	}
}

// slowly yields one chunk an hour.
type slowly struct{ io.Reader }

func (s slowly) Read(b []byte) (int, error) {
	<-time.After(time.Hour)
	return s.Reader.Read(b)
}

func (slowly) Close() error { return nil }

// TestAnUploadMayTakeLong: it continues as long as the daemon takes something, or the client waits
// for contents. Else it ends.
func TestAnUploadMayTakeLong(t *testing.T) {
	const nearly = client.AnswerTimeout - time.Second
	const chunks = 10
	contents := func() io.Reader { return bytes.NewReader(make([]byte, chunks*wire.ChunkSize)) }
	succeed := func(t *testing.T, conn net.Conn, m messages.Wire) {
		answer(t, conn, m, messages.SuccessText{Text: "set block device"})
	}
	for name, c := range map[string]struct {
		contents io.ReadCloser
		script   script
		want     string // the error
	}{
		"slow daemon": {io.NopCloser(contents()), func(t *testing.T, conn net.Conn) {
			m := question(t, conn)
			for range chunks {
				<-time.After(nearly)
				takeChunks(t, conn, 1)
			}
			takeStream(t, conn)
			<-time.After(client.FlushTimeout - time.Second)
			succeed(t, conn, m)
		}, ""},
		"slow contents": {slowly{contents()}, func(t *testing.T, conn net.Conn) {
			m := question(t, conn)
			takeStream(t, conn)
			succeed(t, conn, m)
		}, ""},
		"daemon that stops to read": {io.NopCloser(contents()), func(t *testing.T, conn net.Conn) {
			question(t, conn)
			takeChunks(t, conn, 3)
			<-time.After(client.AnswerTimeout + time.Second)
		}, "the daemon neither takes nor says anything any more"},
		"daemon that does not answer": {io.NopCloser(contents()), func(t *testing.T, conn net.Conn) {
			question(t, conn)
			takeStream(t, conn)
			<-time.After(client.FlushTimeout + time.Second)
		}, "the daemon neither takes nor says anything any more"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := serve(t, c.script).Upload(t.Context(), hello, set, c.contents)
				if c.want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, c.want)
				}
			})
		})
	}
}

// measured yields zeros, and measures at intervals how much memory is in use.
type measured struct {
	io.Reader
	read, most int
}

func (m *measured) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if m.read += n; m.read%(8<<20) < wire.ChunkSize {
		m.most = max(m.most, inUse())
	}
	return n, err
}

func (m *measured) Close() error { return nil }

func inUse() int {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// TestUploadsAndDumpsNeedLittleMemory, however long they are.
func TestUploadsAndDumpsNeedLittleMemory(t *testing.T) {
	const size, budget = 64 << 20, 1 << 20
	contents := &measured{Reader: io.LimitReader(endless(), size)}
	before := inUse()
	c := serve(t, func(t *testing.T, conn net.Conn) {
		m := question(t, conn)
		for {
			if _, err := wire.ReadChunk(conn); err != nil {
				break
			}
		}
		answer(t, conn, m, messages.SuccessEmpty{})
	})
	_, err := c.Upload(t.Context(), hello, set, contents)
	require.NoError(t, err)
	require.Equal(t, size, contents.read)
	require.Less(t, contents.most-before, budget)

	chunk := make([]byte, wire.ChunkSize)
	c = serve(t, func(t *testing.T, conn net.Conn) {
		for range size / len(chunk) {
			sayOnly(messages.DataBlock{Chunk: messages.Some(chunk)})(t, conn)
		}
		sayOnly(messages.DataBlock{})(t, conn)
	})
	before = inUse()
	dump := &measured{Reader: c.Contents(t.Context())}
	n, err := io.Copy(io.Discard, dump)
	require.NoError(t, err)
	require.Equal(t, int64(size), n)
	require.Less(t, dump.most-before, budget)
}

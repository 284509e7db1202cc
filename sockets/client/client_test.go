package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var hello = messages.Name{Label: "hello"}

// A script is what a daemon does on one connection.
type script func(t *testing.T, conn net.Conn)

// serve runs a daemon that accepts one connection. The test ends when its script has ended.
func serve(t *testing.T, s script) *client.Conn {
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		s(t, there)
	}()
	c := client.New(here, "/run/test.sock")
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c
}

// reply reads a command and answers it. The answer is changed by changes first.
func reply(p messages.Payload, changes ...func(*messages.Wire)) script {
	return func(t *testing.T, conn net.Conn) {
		m := question(t, conn)
		m.Payload = p
		for _, change := range changes {
			change(&m)
		}
		say(t, conn, m)
	}
}

func question(t *testing.T, conn net.Conn) messages.Wire {
	frame, err := wire.ReadFrame(conn, wire.MaxCommand)
	if err != nil {
		t.Errorf("cannot read the question: %v", err)
		return messages.Wire{Header: messages.Header{Version: messages.CurrentVersion}}
	}
	m, err := wire.Decode(frame)
	if err != nil {
		t.Errorf("cannot decode the question: %v", err)
	}
	return m
}

func say(t *testing.T, conn net.Conn, m messages.Wire) {
	if err := wire.WriteFrame(conn, m); err != nil {
		t.Errorf("cannot write: %v", err)
	}
}

func TestAskReturnsTheAnswer(t *testing.T) {
	want := messages.SuccessText{Text: "created unikernel"}
	c := serve(t, reply(want))
	got, err := c.Ask(t.Context(), hello, messages.UnikernelDestroy{})
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestQuestionsAreNumbered(t *testing.T) {
	var seen []int64
	c := serve(t, func(t *testing.T, conn net.Conn) {
		for range 3 {
			m := question(t, conn)
			seen = append(seen, m.Header.Sequence)
			m.Payload = messages.SuccessEmpty{}
			say(t, conn, m)
		}
	})
	for range 3 {
		_, err := c.Ask(t.Context(), hello, messages.PolicyInfo{})
		require.NoError(t, err)
	}
	require.Equal(t, []int64{0, 1, 2}, seen, "native clients begin with 0")
}

func TestRefusal(t *testing.T) {
	c := serve(t, reply(messages.Failure{Text: "destroy: not found"}))
	_, err := c.Ask(t.Context(), hello, messages.UnikernelDestroy{})
	var refusal *client.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, &client.Refusal{Name: hello, Text: "destroy: not found"}, refusal)
}

func TestAnswersThatMakeNoSense(t *testing.T) {
	empty := messages.SuccessEmpty{}
	for name, c := range map[string]struct {
		script script
		want   string
	}{
		"other sequence": {reply(empty, func(m *messages.Wire) { m.Header.Sequence++ }), "the answer is to another question"},
		"other name":     {reply(empty, func(m *messages.Wire) { m.Header.Name.Label = "x" }), "the answer is to another question"},
		"other version":  {reply(empty, func(m *messages.Wire) { m.Header.Version = messages.Version4 }), "the answer is to another question"},
		"command":        {reply(messages.PolicyInfo{}), "the answer is a messages.PolicyInfo"},
		"data":           {reply(messages.DataBlock{}), "the answer is a messages.DataBlock"},
		"closed":         {func(t *testing.T, conn net.Conn) { question(t, conn) }, "closed without an answer"},
		"end":            {func(t *testing.T, conn net.Conn) { question(t, conn); wire.WriteEnd(conn) }, "closed without an answer"},
		"cut":            {func(t *testing.T, conn net.Conn) { question(t, conn); io.WriteString(conn, "\x00\x00\x00\x09x") }, "unexpected EOF"},
		"garbage":        {func(t *testing.T, conn net.Conn) { question(t, conn); io.WriteString(conn, "\x00\x00\x00\x01x") }, "message"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := serve(t, c.script)
			_, err := conn.Ask(t.Context(), hello, messages.UnikernelDestroy{})
			var broken *client.ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, "cannot talk to /run/test.sock: ")
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestRefusalOfACommandThatWasNotRead(t *testing.T) {
	socket := listen(t, func(t *testing.T, conn net.Conn) {
		// The client cannot have written all of it yet.
		head := messages.Header{Version: messages.CurrentVersion, Name: hello}
		say(t, conn, messages.Wire{Header: head, Payload: messages.Failure{Text: "too large"}})
	})
	c, err := client.Dial(t.Context(), socket)
	require.NoError(t, err)
	defer c.Close()
	create := messages.UnikernelCreate{Form: 3, Config: messages.Config{
		Image: make([]byte, 16<<20), Arguments: messages.Arguments{CPUIDs: []int{0}},
	}}
	_, err = c.Ask(t.Context(), hello, create)
	var refusal *client.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "too large", refusal.Text)
}

func TestCancelWhileThereIsNoAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(t *testing.T, conn net.Conn) {
		question(t, conn)
		cancel()
		waitForEnd(conn)
	})
	_, err := c.Ask(ctx, hello, messages.UnikernelDestroy{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestDeadlineOfTheCaller(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c := serve(t, func(_ *testing.T, conn net.Conn) { waitForEnd(conn) })
	_, err := c.Ask(ctx, hello, messages.UnikernelDestroy{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// waitForEnd reads until the other side closes.
func waitForEnd(conn net.Conn) { io.Copy(io.Discard, conn) }

func TestStream(t *testing.T) {
	lines := []string{"one", "two", "\xff"}
	c := serve(t, func(t *testing.T, conn net.Conn) {
		m := question(t, conn)
		m.Payload = messages.SuccessText{Text: "subscribed"}
		say(t, conn, m)
		m.Header.Sequence = 0
		for _, line := range lines {
			m.Payload = messages.DataConsole{Time: time.Unix(1, 0).UTC(), Line: line}
			say(t, conn, m)
		}
		wire.WriteEnd(conn)
	})
	_, err := c.Ask(t.Context(), hello, messages.ConsoleSubscribe{Count: messages.Some(3)})
	require.NoError(t, err)
	for _, line := range lines[:2] {
		name, data, err := c.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, hello, name)
		require.Equal(t, messages.DataConsole{Time: time.Unix(1, 0).UTC(), Line: line}, data)
	}
	last, err := c.NextLine(t.Context())
	require.NoError(t, err)
	require.Equal(t, messages.DataConsole{Time: time.Unix(1, 0).UTC(), Line: lines[2]}, last)
	_, _, err = c.Next(t.Context())
	require.Equal(t, io.EOF, err, "the end was marked")
}

func TestStreamThatBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		script script
		want   string
	}{
		"closed":  {func(*testing.T, net.Conn) {}, "the connection was closed"},
		"cut":     {func(_ *testing.T, conn net.Conn) { io.WriteString(conn, "\x00\x00") }, "unexpected EOF"},
		"success": {sayOnly(messages.SuccessEmpty{}), "the stream has a messages.SuccessEmpty in it"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := serve(t, c.script)
			_, _, err := conn.Next(t.Context())
			var broken *client.ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, c.want)
			_, err = serve(t, c.script).NextLine(t.Context())
			require.ErrorAs(t, err, &broken)
		})
	}
}

func sayOnly(p messages.Payload) script {
	return func(t *testing.T, conn net.Conn) {
		say(t, conn, messages.Wire{Header: messages.Header{Version: messages.CurrentVersion}, Payload: p})
	}
}

func TestCancelWhileFollowing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(t *testing.T, conn net.Conn) {
		sayOnly(messages.DataConsole{Time: time.Unix(1, 0)})(t, conn)
		cancel()
		waitForEnd(conn)
	})
	var err error
	for err == nil {
		_, _, err = c.Next(ctx)
	}
	require.ErrorIs(t, err, context.Canceled)
}

func TestCommandThatCannotBeSaid(t *testing.T) {
	c := serve(t, func(_ *testing.T, conn net.Conn) { waitForEnd(conn) })
	config := messages.Config{Arguments: messages.Arguments{CPUIDs: []int{0, 1}}}
	_, err := c.Ask(t.Context(), hello, messages.UnikernelCreate{Form: 3, Config: config})
	require.ErrorContains(t, err, "internal error")
}

func TestDial(t *testing.T) {
	socket := listen(t, reply(messages.SuccessEmpty{}))
	c, err := client.Dial(t.Context(), socket)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Ask(t.Context(), hello, messages.PolicyInfo{})
	require.NoError(t, err)
}

func TestNobodyThere(t *testing.T) {
	dir := shortDir(t)
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	l.Close()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	for path, cause := range map[string]error{
		filepath.Join(dir, "nothing"):                   syscall.ENOENT,
		filepath.Join(dir, strings.Repeat("long/", 30)): syscall.EINVAL,
		filepath.Join(dir, "file", "below"):             syscall.ENOTDIR,
		stale:                                           syscall.ECONNREFUSED,
		file:                                            syscall.ECONNREFUSED,
	} {
		_, err := client.Dial(t.Context(), path)
		var connect *client.ConnectError
		require.ErrorAs(t, err, &connect)
		require.Equal(t, path, connect.Peer)
		require.True(t, errors.Is(err, cause), "%s: %v", path, err)
		require.Equal(t, "cannot connect to "+path+": "+cause.Error(), err.Error())
	}
}

// listen serves one connection on a Unix socket.
func listen(t *testing.T, s script) string {
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	acceptOne(t, l, s)
	return path
}

// acceptOne runs a script on the first connection. The test ends when the script
// has ended.
func acceptOne(t *testing.T, l net.Listener, s script) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s(t, conn)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

// shortDir returns a directory whose path is short enough for a Unix socket in it, which t.TempDir
// does not promise.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "client")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

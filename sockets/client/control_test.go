package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/control"
)

// reads returns a script that reads a request for ends and writes bytes.
func reads(answer []byte) script {
	return func(t *testing.T, conn net.Conn) {
		m, err := control.Read(conn, control.MaxItem)
		if err != nil || m.Header.Name != hello || m.Payload != (messages.EndList{}) {
			t.Errorf("the request is %+v, %v", m, err)
		}
		if _, err := conn.Write(answer); err != nil {
			t.Errorf("cannot write: %v", err)
		}
	}
}

func event(t *testing.T, p messages.Payload) []byte {
	b, err := control.Append(nil, messages.Wire{Payload: p})
	require.NoError(t, err)
	return b
}

func TestEnds(t *testing.T) {
	for what, want := range map[string][]messages.NamedEnd{
		"none": nil,
		"one":  {{Name: hello, End: messages.End{Exit: messages.Exit{Known: true, Signal: 9}, AtMillis: 5, Restarts: 1}}},
	} {
		t.Run(what, func(t *testing.T) {
			c := serve(t, reads(event(t, messages.SuccessEnds{List: want})))
			got, err := c.Ends(t.Context(), hello)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestEndsAreRefused(t *testing.T) {
	c := serve(t, reads(event(t, messages.Failure{Text: "no"})))
	_, err := c.Ends(t.Context(), hello)
	var refusal *client.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, &client.Refusal{Name: hello, Text: "no"}, refusal)
}

// TestEndsThatBreakOff: an incomplete answer is an error.
func TestEndsThatBreakOff(t *testing.T) {
	all := event(t, messages.SuccessEnds{List: []messages.NamedEnd{{Name: hello}}})
	for what, c := range map[string]struct {
		answer []byte
		want   string
	}{
		"at once":             {nil, client.ErrNoAnswer.Error()},
		"within an end":       {all[:3], "the connection was closed"},
		"between ends":        {all[:len(all)-1], "the connection was closed"},
		"into native's words": {[]byte{0, 0, 0, 1, 0x30}, "cannot understand the answer: "},
	} {
		t.Run(what, func(t *testing.T) {
			conn := serve(t, reads(c.answer))
			ends, err := conn.Ends(t.Context(), hello)
			require.Nil(t, ends)
			var broken *client.ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, "cannot talk to /run/test.sock: "+c.want)
		})
	}
}

// TestEndsOfADaemonThatHasLeft: the client cannot even ask it.
func TestEndsOfADaemonThatHasLeft(t *testing.T) {
	c := serve(t, func(*testing.T, net.Conn) {})
	_, err := c.Ends(t.Context(), hello)
	require.ErrorContains(t, err, "cannot talk to /run/test.sock: cannot send the command: ")
}

func TestEndsUntilTheContextEnds(t *testing.T) {
	cause := errors.New("that is enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := serve(t, func(t *testing.T, conn net.Conn) {
		_, err := control.Read(conn, control.MaxItem)
		require.NoError(t, err)
		cancel(cause)
		_, _ = io.Copy(io.Discard, conn) // until the client has closed it
	})
	_, err := c.Ends(ctx, hello)
	require.ErrorIs(t, err, cause)
}

// TestDeployCountsWhatItSends: all of it, the image included, is read through the caller's reader.
func TestDeployCountsWhatItSends(t *testing.T) {
	image := bytes.Repeat([]byte("image"), 50_000)
	var got messages.Wire
	conn := serve(t, func(t *testing.T, conn net.Conn) {
		m, err := control.Read(conn, control.MaxItem)
		if err == nil {
			got = control.Complete(m, question(t, conn))
			_, err = conn.Write([]byte{0xa0})
		}
		require.NoError(t, err)
	})
	config := messages.Config{Image: image, Arguments: messages.Arguments{CPUIDs: []int{0}, CPUs: 1, Memory: 32}}
	deploy := messages.UnikernelDeploy{Owner: "team", Create: messages.UnikernelCreate{Form: 5, Config: config}}
	var announced, seen int64
	err := conn.Deploy(t.Context(), messages.Name{Label: "x"}, deploy, func(size int64, r io.Reader) io.Reader {
		announced = size
		return io.TeeReader(r, countWriter{&seen})
	})
	require.NoError(t, err)
	require.Equal(t, deploy, got.Payload)
	require.Equal(t, announced, seen)
	require.Greater(t, seen, int64(len(image)))
}

type countWriter struct{ n *int64 }

func (c countWriter) Write(b []byte) (int, error) {
	*c.n += int64(len(b))
	return len(b), nil
}

package client_test

import (
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

package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/control"
)

var since = messages.Some(time.UnixMilli(1_700_000_000_000).UTC())

// stream returns a script that reads a request for events and writes bytes.
func stream(answer []byte) script {
	return func(t *testing.T, conn net.Conn) {
		m, err := control.Read(conn, control.MaxItem)
		if err != nil || m.Header.Name != hello || m.Payload != messages.Payload(messages.EventsSubscribe{Since: since}) {
			t.Errorf("the request is %+v, %v", m, err)
		}
		_, _ = conn.Write(answer) // a client that has read enough leaves
	}
}

func begun(number uint64) messages.DataEvent {
	return messages.DataEvent{NumberedEvent: messages.NumberedEvent{
		Number: number, Event: messages.NewEvent(messages.EventStarted, hello, time.UnixMilli(5), "a test"),
	}}
}

func TestEventStream(t *testing.T) {
	want := []messages.Data{begun(1), messages.DataMissed{Count: 3}, begun(5), messages.DataPresent{}, begun(6)}
	var all []byte
	for _, d := range want {
		all = append(all, event(t, d)...)
	}
	c := serve(t, stream(all))
	s, err := c.Events(t.Context(), hello, since)
	require.NoError(t, err)
	for _, d := range want {
		next, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, d, next)
	}
	_, err = s.Next(t.Context())
	require.EqualError(t, err, "cannot talk to /run/test.sock: the connection was closed")
}

func TestEventStreamIsRefused(t *testing.T) {
	c := serve(t, stream(event(t, messages.Failure{Text: "no"})))
	s, err := c.Events(t.Context(), hello, since)
	require.NoError(t, err)
	_, err = s.Next(t.Context())
	var refusal *client.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, &client.Refusal{Name: hello, Text: "no"}, refusal)
}

// TestEventStreamIsEnded: a follower of events reads why they end.
func TestEventStreamIsEnded(t *testing.T) {
	c := serve(t, stream(slices.Concat(event(t, messages.DataPresent{}), event(t, messages.Failure{Text: "no more"}))))
	s, err := c.Events(t.Context(), hello, since)
	require.NoError(t, err)
	_, err = s.Next(t.Context())
	require.NoError(t, err)
	_, err = s.Next(t.Context())
	var ended *client.Ended
	require.ErrorAs(t, err, &ended)
	require.Equal(t, &client.Ended{Name: hello, Text: "no more"}, ended)
}

func TestEventStreamsThatBreakOff(t *testing.T) {
	one := event(t, begun(1))
	for what, c := range map[string]struct {
		answer []byte
		good   int // how many items are decoded before
		want   string
	}{
		"at once":             {nil, 0, client.ErrNoAnswer.Error()},
		"within an event":     {one[:9], 0, "the connection was closed"},
		"within the second":   {slices.Concat(one, one[:9]), 1, "the connection was closed"},
		"between events":      {slices.Concat(one, one), 2, "the connection was closed"},
		"into native's words": {[]byte{0, 0, 0, 1, 0x30}, 0, "cannot understand an event: "},
		"into nothing known":  {slices.Concat(one, []byte{0xa1, 0x18, 0x63, 0}), 1, "cannot understand an event: it is of no kind"},
	} {
		t.Run(what, func(t *testing.T) {
			conn := serve(t, stream(c.answer))
			s, err := conn.Events(t.Context(), hello, since)
			require.NoError(t, err)
			for range c.good {
				_, err := s.Next(t.Context())
				require.NoError(t, err)
			}
			_, err = s.Next(t.Context())
			var broken *client.ProtocolError
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, "cannot talk to /run/test.sock: "+c.want)
		})
	}
}

func TestEventStreamUntilTheContextEnds(t *testing.T) {
	cause := errors.New("that is enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := serve(t, func(t *testing.T, conn net.Conn) {
		stream(event(t, begun(1)))(t, conn)
		cancel(cause)
		_, _ = io.Copy(io.Discard, conn) // until the client has closed it
	})
	s, err := c.Events(ctx, hello, since)
	require.NoError(t, err)
	for err == nil {
		_, err = s.Next(ctx)
	}
	require.ErrorIs(t, err, cause)
}

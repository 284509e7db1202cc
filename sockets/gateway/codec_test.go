package gateway_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/gateway"
)

// controlLimits returns the limits of a control socket.
func controlLimits() gateway.Limits {
	l := limits()
	l.Frame = control.MaxItem
	return l
}

// request returns a request for the ends of unikernels at and below a path.
func request(t *testing.T) (messages.Wire, []byte) {
	m := messages.Wire{Header: messages.Header{Name: messages.Name{Path: "a:b"}}, Payload: messages.EndList{}}
	b, err := control.AppendRequest(nil, m.Header.Name, messages.EndList{})
	require.NoError(t, err)
	return m, b
}

// TestEvents: the same connections carry the other codec.
func TestEvents(t *testing.T) {
	asked, sent := request(t)
	answer := messages.SuccessEnds{List: []messages.NamedEnd{
		{Name: messages.Name{Label: "x"}, End: messages.End{Exit: messages.Exit{Known: true, Code: 3}, AtMillis: 5, Restarts: 2}},
	}}
	s := serveIn(t, gateway.Control, controlLimits(), func(c *gateway.Conn) {
		m, err := c.Read()
		if err != nil || m.Header != asked.Header || m.Payload != asked.Payload {
			t.Errorf("%+v, %v", m, err)
		}
		if err := c.Write([]messages.Wire{{Header: m.Header, Payload: answer}}); err != nil {
			t.Error(err)
		}
	})
	c := s.dial()
	_, err := c.Write(sent)
	require.NoError(t, err)
	got, err := control.ReadAnswer(c)
	require.NoError(t, err)
	require.Equal(t, answer, got)
	requireClosed(t, c)
}

// TestRequestsInSequence: a connection reads one request after the other, however they are cut into
// pieces, and goes on after one that it does not know.
func TestRequestsInSequence(t *testing.T) {
	asked, sent := request(t)
	s, results := readsIn(t, gateway.Control, controlLimits())
	c := s.dial()
	for _, b := range append(bytes.Repeat(sent, 2), 0x17) { // 0x17 is the number 23
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	_, err := c.Write(bytes.Repeat(sent, 2))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	for i := range 5 {
		r := within(t, results, "the request arrives")
		require.NoError(t, r.err)
		if i == 2 {
			require.IsType(t, messages.BadRequest{}, r.wire.Payload)
			continue
		}
		require.Equal(t, asked, r.wire)
	}
	require.Equal(t, io.EOF, within(t, results, "the client leaves").err)
}

// TestRequestsThatAreNone: the limits hold in every codec.
func TestRequestsThatAreNone(t *testing.T) {
	_, sent := request(t)
	for what, test := range map[string]struct {
		sent  []byte
		leave bool
		is    error
		says  string
	}{
		"too long":     {sent: []byte{0x5a, 0, 0, 0x10, 0}, says: "more than 4096 bytes"},
		"indefinite":   {sent: []byte{0xbf}, says: "indefinite"},
		"cut off":      {sent: sent[:5], leave: true, is: io.ErrUnexpectedEOF},
		"who stops":    {sent: sent[:5], is: os.ErrDeadlineExceeded},
		"no beginning": {leave: true, is: io.EOF},
	} {
		t.Run(what, func(t *testing.T) {
			l := controlLimits()
			l.Patience = soon
			s, results := readsIn(t, gateway.Control, l)
			c := s.dial()
			_, err := c.Write(test.sent)
			require.NoError(t, err)
			if test.leave {
				require.NoError(t, c.CloseWrite())
			}
			err = within(t, results, "it is refused").err
			require.ErrorContains(t, err, test.says)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			requireClosed(t, c)
		})
	}
}

// TestUnencodableEvent: a message of the other protocol is reported as a bug of ours, and nothing
// of it is sent.
func TestUnencodableEvent(t *testing.T) {
	ended := make(chan error, 1)
	s := serveIn(t, gateway.Control, controlLimits(), func(c *gateway.Conn) { ended <- c.Write([]messages.Wire{line()}) })
	c := s.dial()
	require.ErrorContains(t, within(t, ended, "it is refused"), "internal error: cannot encode an answer")
	requireClosed(t, c)
}

package gateway_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/gateway"
	"albatross/sockets/wire"
)

// hands serves clients by handing over their connections, and ends each when its client leaves.
func hands(t *testing.T, l gateway.Limits) (*server, chan *gateway.Conn) {
	conns := make(chan *gateway.Conn, l.Conns)
	return serve(t, l, func(c *gateway.Conn) {
		conns <- c
		_, _ = c.Read() // the end
	}), conns
}

const (
	tooLarge = "the answer is larger than all memory that the daemon has for commands and answers"
	noMemory = "commands and answers to others take all memory of the daemon: try again later"
)

// TestReserve: answers wait for the memory of others, and free theirs when the client has
// gone.
func TestReserve(t *testing.T) {
	l := limits()
	l.Memory = gateway.NewMemory(10 * mb)
	s, conns := hands(t, l)
	first := s.dial()
	a := within(t, conns, "the client is served")
	require.NoError(t, a.Reserve(5*mb))
	require.NoError(t, a.Reserve(3*mb))

	require.NoError(t, s.dial().SetDeadline(time.Time{}))
	b := within(t, conns, "the client is served")
	require.EqualError(t, b.Reserve(10*mb+1), tooLarge)
	got := make(chan error, 1)
	go func() { got <- b.Reserve(4 * mb) }()
	requirePending(t, got)
	require.NoError(t, first.Close())
	require.NoError(t, within(t, got, "there is memory"))
	require.NoError(t, b.Reserve(6*mb), "all is there")
}

// requirePending makes sure that nothing has been sent. That cannot be waited for.
func requirePending(t *testing.T, got chan error) {
	select {
	case err := <-got:
		require.FailNow(t, "it has not waited", "%v", err)
	case <-time.After(2 * soon):
	}
}

// TestReserveWaitsWithinBounds: also if the client leaves meanwhile.
func TestReserveWaitsWithinBounds(t *testing.T) {
	l := limits()
	l.Memory = gateway.NewMemory(10 * mb)
	s, conns := hands(t, l)
	l.Patience = soon
	hasty, hastyConns := hands(t, l)

	s.dial()
	a := within(t, conns, "the client is served")
	require.NoError(t, a.Reserve(10*mb))
	hasty.dial()
	require.EqualError(t, within(t, hastyConns, "the client is served").Reserve(1), noMemory)

	leaving := s.dial()
	b := within(t, conns, "the client is served")
	got := make(chan error, 1)
	go func() { got <- b.Reserve(1) }()
	require.NoError(t, leaving.Close())
	require.Error(t, within(t, got, "it waits no more"))
	require.NoError(t, a.Close())
	require.Error(t, a.Reserve(1), "it has ended")

	s.dial()
	c := within(t, conns, "the client is served")
	require.NoError(t, c.Reserve(10*mb), "nothing is lost")
}

// infos is an answer with many large parts.
func infos(n int) messages.Wire {
	var list []messages.NamedInfo
	for range n {
		list = append(list, messages.NamedInfo{
			Name: messages.Name{Label: "x"}, Info: messages.Info{Argv: messages.Some([]string{string(make([]byte, 8<<10))})},
		})
	}
	return messages.Wire{Header: messages.Header{Version: messages.Version5}, Payload: messages.SuccessInfos{Form: 6, List: list}}
}

// TestEncodedAnswersTakeMemory: who does not read holds it, others wait, and read why they
// get nothing.
func TestEncodedAnswersTakeMemory(t *testing.T) {
	l := limits()
	l.Memory = gateway.NewMemory(5 * mb)
	s, conns := hands(t, l)
	l.Patience = soon
	hasty, hastyConns := hands(t, l)

	slow := s.dial()
	a := within(t, conns, "the client is served")
	written := make(chan error, 1)
	go func() { written <- a.Write([]messages.Wire{infos(400)}) }() // 3.2 MB
	var first [1]byte
	_, err := io.ReadFull(slow, first[:])
	require.NoError(t, err) // it is being sent

	client := hasty.dial()
	b := within(t, hastyConns, "the client is served")
	require.EqualError(t, b.Write([]messages.Wire{infos(400)}), noMemory)
	require.Equal(t, messages.Failure{Text: noMemory}, read(t, client))
	require.NoError(t, b.Write([]messages.Wire{infos(1)}), "a small one needs none")
	require.Len(t, read(t, client).(messages.SuccessInfos).List, 1)

	_, err = io.CopyN(io.Discard, slow, 400*8<<10)
	require.NoError(t, err)
	require.NoError(t, within(t, written, "it is read"))
	require.NoError(t, a.Reserve(5*mb), "it is free again")
}

// TestAnswersLargerThanTheMemory are refused in words.
func TestAnswersLargerThanTheMemory(t *testing.T) {
	l := limits()
	l.Memory = gateway.NewMemory(mb)
	s, conns := hands(t, l)
	client := s.dial()
	require.EqualError(t, within(t, conns, "the client is served").Write([]messages.Wire{infos(400)}), tooLarge)
	require.Equal(t, messages.Failure{Text: tooLarge}, read(t, client))
}

func read(t *testing.T, c net.Conn) messages.Payload {
	b, err := wire.ReadFrame(c, wire.MaxFrame)
	require.NoError(t, err)
	got, err := wire.Decode(b)
	require.NoError(t, err)
	return got.Payload
}

package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

func TestBeginsFailure(t *testing.T) {
	header := messages.Header{Version: messages.CurrentVersion, Name: messages.Name{Path: "a:b", Label: "x"}}
	long := messages.Publicf("%s", strings.Repeat("long ", 10_000))
	for _, tc := range []struct {
		payload messages.Payload
		want    bool
	}{
		{messages.Failure{Text: long}, true},
		{messages.Failure{Text: "short"}, true},
		{messages.SuccessText{Text: long}, false},
		{messages.UnikernelDestroy{}, false},
	} {
		message, err := wire.Append(nil, messages.Wire{Header: header, Payload: tc.payload})
		require.NoError(t, err)
		require.Equal(t, tc.want, wire.BeginsFailure(message[:min(len(message), 64)]), "%.40v", tc.payload)
	}
	for _, b := range []string{"", "0", "0\x80", "0\x84\xff\xff\xff\xff", "0\xff0", "0\x050\x7f", "0\x030\x01"} {
		require.False(t, wire.BeginsFailure([]byte(b)), "%q", b)
	}
}

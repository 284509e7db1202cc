package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/sockets/client"
)

// TestRefusesForm: a daemon that closes the connection may not know the form of the command. An
// endpoint reports the same of the daemon behind it.
func TestRefusesForm(t *testing.T) {
	closed := &client.ProtocolError{Peer: "x", Err: client.ErrNoAnswer}
	for _, err := range []error{closed, &client.Refusal{Text: client.ErrSilent.Error()}, fmt.Errorf("x: %w", closed)} {
		require.True(t, refusesForm(err), err)
	}
	for _, err := range []error{nil, errors.New("x"), errNothingSent, errRequested, &client.Refusal{Text: "no"},
		&client.ConnectError{}, &client.ProtocolError{Err: client.ErrClosed}} {
		require.False(t, refusesForm(err), err)
	}
}

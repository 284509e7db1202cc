package unikernel

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A forgetful is a unikernel whose fate is being stored.
type forgetful struct{ unikernel }

func (f *forgetful) Started(*supervise.Context) { f.state = forgetting }

// A listener passes on what the host would get.
type listener struct{ got chan any }

func (listener) Started(*supervise.Context)               {}
func (l listener) Handle(_ *supervise.Context, m any)     { l.got <- m }
func (listener) Stopping(_ *supervise.Context, last bool) {}

// TestNoPortIsPublishedWhileTheFateIsStored: the change would be acknowledged, and lost at the next
// start.
func TestNoPortIsPublishedWhileTheFateIsStored(t *testing.T) {
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l := listener{make(chan any, 1)}
	host, err := system.Spawn("host", func() supervise.Actor { return l }, supervise.Restart)
	require.NoError(t, err)
	f := &forgetful{unikernel{Config: Config{Host: host.PID()}}}
	ref, err := system.Spawn("unikernel", func() supervise.Actor { return f }, supervise.Restart)
	require.NoError(t, err)
	ref.Send(messages.UnikernelPublish{ID: 7, List: []messages.Publication{{From: 1, To: 1}}})
	select {
	case m := <-l.got:
		require.Equal(t, messages.UnikernelPublished{ID: 7, Err: "the unikernel has ended just now: try again"}, m)
	case <-ctx.Done():
		require.FailNow(t, "there is no answer")
	}
	require.NoError(t, system.Shutdown(ctx))
}

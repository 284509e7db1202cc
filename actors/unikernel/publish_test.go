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

// A changing is a unikernel that has ended and whose ports are being changed.
type changing struct{ unikernel }

func (h *changing) Started(*supervise.Context) {}

// A publisher is a machine that publishes whatever it is asked to.
type publisher struct{ Machine }

func (publisher) Publish(context.Context, messages.Name, messages.Arguments, []messages.Publication) error {
	return nil
}

// TestAFailedChangeOfPortsIsNotStarted: the fate is decided when it is known that the change is not on
// record.
func TestAFailedChangeOfPortsIsNotStarted(t *testing.T) {
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	told, stored := listener{make(chan any, 1)}, listener{make(chan any, 1)}
	host, err := system.Spawn("host", func() supervise.Actor { return told }, supervise.Restart)
	require.NoError(t, err)
	db, err := system.Spawn("store", func() supervise.Actor { return stored }, supervise.Restart)
	require.NoError(t, err)
	before, after := []messages.Publication{{From: 1, To: 1}}, []messages.Publication{{From: 2, To: 2}}
	u := &changing{unikernel{Config: Config{Host: host.PID(), Store: db.PID(), Machine: publisher{}}}}
	u.state, u.eager, u.outcome = reverting, true, exit2
	u.spec.Arguments = messages.Arguments{Fail: messages.FailBehaviour{Restart: true}, Publish: after}
	u.ports = publishing{id: 7, former: before, writing: 9}
	ref, err := system.Spawn("unikernel", func() supervise.Actor { return u }, supervise.Restart)
	require.NoError(t, err)
	ref.Send(messages.UnikernelReverted{Err: "no room"})
	ref.Send(messages.StoreWritten{ID: 9, Err: "the disk is full"})
	for l, want := range map[listener]any{told: messages.UnikernelPublished{}, stored: messages.StoreWrite{}} {
		select {
		case m := <-l.got:
			require.IsType(t, want, m)
			if write, is := m.(messages.StoreWrite); is {
				put := write.Changes[len(write.Changes)-1].(messages.PutSpec)
				require.Equal(t, before, put.Spec.Arguments.Publish)
			}
		case <-ctx.Done():
			require.FailNow(t, "nothing follows")
		}
	}
	require.NoError(t, system.Shutdown(ctx))
}

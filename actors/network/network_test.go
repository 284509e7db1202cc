package network

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/network"
)

// deadline bounds what must happen.
const deadline = time.Minute

// made is a network that is made of nothing. Each call of Up gets its own channel.
type made struct{ ups chan chan struct{} }

func (m made) Up(context.Context, messages.NamedNetwork, []network.Station) (<-chan struct{}, error) {
	ended := make(chan struct{})
	m.ups <- ended
	return ended, nil
}

func (made) Down(context.Context, messages.NamedNetwork) error { return nil }

// probe is the host of a network, and passes on what it gets.
type probe struct {
	networks Networks
	network  chan *actor.PID
	got      chan any
}

func (p *probe) Started(c *supervise.Context) {
	p.network <- c.Child("network", New(Config{Host: c.Self(), Networks: p.networks}))
}

func (p *probe) Handle(_ *supervise.Context, message any) { p.got <- message }

func (p *probe) Stopping(*supervise.Context, bool) {}

// TestWhatEndsWithARepair needs none: a repair ends the connection to the process of before.
func TestWhatEndsWithARepair(t *testing.T) {
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	networks := made{make(chan chan struct{}, 10)}
	p := &probe{networks: networks, network: make(chan *actor.PID, 1), got: make(chan any, 10)}
	host, err := system.Spawn("host", func() supervise.Actor { return p }, supervise.Stop)
	require.NoError(t, err)
	first := next(t, networks.ups)
	require.Equal(t, messages.NetworkUp{}, next(t, p.got))
	close(first)
	second := next(t, networks.ups)
	require.Equal(t, messages.NetworkUp{}, next(t, p.got))

	_, err = system.Spawn("asker", func() supervise.Actor { return &repairer{next(t, p.network)} }, supervise.Stop)
	require.NoError(t, err)
	third := next(t, networks.ups)
	require.Equal(t, messages.NetworkUp{}, next(t, p.got))
	close(second) // late
	close(third)
	next(t, networks.ups)
	require.Equal(t, messages.NetworkUp{}, next(t, p.got))
	require.Empty(t, networks.ups, "one repair for what has ended")

	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	require.NoError(t, host.Stop(ctx))
	require.NoError(t, system.Shutdown(ctx))
	require.Empty(t, networks.ups)
	require.Zero(t, system.Bugs())
}

// repairer asks a network to repair itself.
type repairer struct{ network *actor.PID }

func (r *repairer) Started(c *supervise.Context) { c.Send(r.network, messages.NetworkRepair{}) }

func (*repairer) Handle(*supervise.Context, any) {}

func (*repairer) Stopping(*supervise.Context, bool) {}

func next[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(deadline):
		require.FailNow(t, "nothing comes")
	}
	return value
}

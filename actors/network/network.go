// Package network keeps one named network usable. The actor makes what the network is on the
// machine, notices when its process ends, and repairs it; in the end it removes it.
package network

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/network"
)

const (
	// upTimeout bounds the making of a network: all of its stations may have to be told anew.
	upTimeout = 30 * time.Second
	// downTimeout bounds its removal.
	downTimeout = 30 * time.Second
)

// A Config is what the actor of a network is made with.
type Config struct {
	Network  messages.NamedNetwork
	Stations []network.Station // of unikernels that run already
	Host     *actor.PID
	Networks Networks
}

// Networks are the networks of the machine; network.Networks is one.
type Networks interface {
	// Up makes or repairs a network. The channel is closed when it needs that again.
	Up(ctx context.Context, n messages.NamedNetwork, running []network.Station) (<-chan struct{}, error)
	Down(ctx context.Context, n messages.NamedNetwork) error
}

// A state of a network.
type state string

const (
	rising  state = "rising"  // it is being made or repaired
	up      state = "up"      // unikernels can use it
	broken  state = "broken"  // the next repair is due later
	falling state = "falling" // it is being removed
)

type net struct {
	Config
	state   state
	rises   int    // number of the last rise
	down    uint64 // the ID of the request to remove it; 0: none
	asker   *actor.PID
	trouble supervise.Trouble
}

// The messages of the network's own goroutines and timers.
type (
	risen struct {
		ended <-chan struct{}
		err   error
	}
	ended     struct{ number int } // of the rise that began what has ended
	repairDue struct{}
	fallen    struct{ err error }
)

// New returns the constructor of the incarnations of a network.
func New(config Config) func() supervise.Actor {
	return func() supervise.Actor { return &net{Config: config} }
}

func (n *net) Started(c *supervise.Context) { n.rise(c) }

func (n *net) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.NetworkDown:
		n.downAsked(c, m)
	case messages.NetworkRepair:
		n.repairAsked(c)
	case risen:
		n.risen(c, m)
	case ended:
		n.ended(c, m)
	case repairDue:
		n.repairDue(c)
	case fallen:
		n.fallen(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping leaves the network as it is: it outlives the daemon.
func (n *net) Stopping(c *supervise.Context, _ bool) {
	if n.down != 0 {
		c.Send(n.asker, messages.NetworkGone{ID: n.down, Name: n.Network.Name, Err: "internal error: the network's actor has failed; the log tells more"})
	}
}

// to alone writes the state.
func (n *net) to(next state) { n.state = next }

func (n *net) rise(c *supervise.Context) {
	n.to(rising)
	n.rises++
	config := n.Config
	c.Go(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, upTimeout)
		defer cancel()
		ended, err := config.Networks.Up(ctx, config.Network, config.Stations)
		return risen{ended, err}
	})
}

func (n *net) risen(c *supervise.Context, m risen) {
	switch {
	case n.down != 0:
		n.fall(c)
	case m.err != nil:
		n.to(broken)
		n.trouble.Note(c, "Cannot make a network", m.err)
		c.Send(n.Host, messages.NetworkTrouble{Name: n.Network.Name, Text: c.Public(m.err)})
		c.After(supervise.RetryAfter, repairDue{})
	default:
		n.to(up)
		n.trouble.Over(c)
		n.Stations = nil // the network knows them by now
		c.Send(n.Host, messages.NetworkUp{Name: n.Network.Name})
		number := n.rises
		c.Go(func(ctx context.Context) any {
			select {
			case <-m.ended:
			case <-ctx.Done():
			}
			return ended{number}
		})
	}
}

// ended repairs a network whose process has ended. A repair ends the connection to the former
// process, too.
func (n *net) ended(c *supervise.Context, m ended) {
	switch {
	case n.state == up && m.number == n.rises:
		c.Log().Warn("The process of a network has ended and is started again", "network", n.Network.Name)
		n.rise(c)
	default: // it is removed, or of a former process
	}
}

// repairAsked repairs a network of which the host knows that something is missing.
func (n *net) repairAsked(c *supervise.Context) {
	switch n.state {
	case up:
		n.rise(c)
	default: // it is being repaired, or removed
	}
}

func (n *net) repairDue(c *supervise.Context) {
	switch n.state {
	case broken:
		n.rise(c)
	default:
	}
}

func (n *net) downAsked(c *supervise.Context, m messages.NetworkDown) {
	n.down, n.asker = m.ID, c.Sender()
	switch n.state {
	case up, broken:
		n.fall(c)
	default: // risen continues
	}
}

func (n *net) fall(c *supervise.Context) {
	n.to(falling)
	config := n.Config
	c.Go(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, downTimeout)
		defer cancel()
		return fallen{config.Networks.Down(ctx, config.Network)}
	})
}

// fallen answers. What could not be removed stays usable.
func (n *net) fallen(c *supervise.Context, m fallen) {
	gone := messages.NetworkGone{ID: n.down, Name: n.Network.Name}
	if m.err != nil {
		gone.Err = c.Public(m.err)
	}
	c.Send(n.asker, gone)
	n.down, n.asker = 0, nil
	if m.err != nil {
		n.rise(c)
	}
}

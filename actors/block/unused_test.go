package block

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
	blockfile "albatross/runtime/block"
	"albatross/runtime/fair"
)

// An asker passes a command on to a device, and what it hears to the test.
type asker struct {
	device *actor.PID
	heard  chan any
}

func (a *asker) Started(*supervise.Context) {}

func (a *asker) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.BlockDo:
		c.Request(a.device, m)
	case messages.Answer:
		a.heard <- m.Payload
	}
}

func (a *asker) Stopping(*supervise.Context, bool) {}

// plenty is memory that is always there.
type plenty struct{}

func (plenty) Reserve(int64) error { return nil }

// A device that a process uses is refused by its own actor, and stays as it is.
func TestADeviceInUseIsRefused(t *testing.T) {
	for what, command := range map[string]messages.Command{
		"remove block":  messages.BlockRemove{},
		"set block":     messages.BlockSet{},
		"set block old": messages.BlockOldSet{Data: []byte("new")},
		"reserve block": messages.BlockReserve{},
		"dump block":    messages.BlockDump{},
		"dump old":      messages.BlockOldDump{},
	} {
		t.Run(what, func(t *testing.T) {
			dir, err := blockfile.Open(t.TempDir())
			require.NoError(t, err)
			name, err := messages.ParseName("a:d")
			require.NoError(t, err)
			require.NoError(t, dir.Create(t.Context(), name, 1, nil))
			system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
			a := &asker{heard: make(chan any, 2)}
			asking, err := system.Spawn("asker", func() supervise.Actor { return a }, supervise.Stop)
			require.NoError(t, err)
			device, err := system.Spawn("block", New(Config{
				Name: name, Dir: dir, Host: asking.PID(), Work: fair.New(1),
				CheckUnused: func(messages.Name, string) error { return errors.New("in use") },
			}), supervise.Restart)
			require.NoError(t, err)
			a.device = device.PID()

			asking.Send(messages.BlockDo{Command: command, Size: 1, Memory: plenty{}})
			select {
			case payload := <-a.heard:
				require.Equal(t, messages.Failure{Text: "in use"}, payload)
			case <-time.After(10 * time.Second):
				require.FailNow(t, "no answer")
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			require.NoError(t, system.Shutdown(ctx))

			r, err := dir.Reader(name, 0)
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.Equal(t, make([]byte, 1<<20), data)
		})
	}
}

package console

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/history"
)

// A late console learns that it has opened the FIFO only after that was made again, and another
// daemon has asked to have the new one read.
type late struct {
	*console
	t     *testing.T
	asker *actor.PID
	again bool
}

func (l *late) Handle(c *supervise.Context, message any) {
	if _, ok := message.(feedOpened); ok && !l.again {
		l.again = true
		require.NoError(l.t, os.Remove(l.FIFO))
		require.NoError(l.t, fifo.Create(l.FIFO))
		l.console.Handle(c, messages.ConsoleAdopt{ID: 2, Limit: 1})
		l.openers[len(l.openers)-1].pid = l.asker
	}
	l.console.Handle(c, message)
}

// An asker is another daemon, and the host.
type asker struct {
	console  *late
	answered chan uint64
}

func (a *asker) Started(c *supervise.Context) {
	a.console.asker, a.console.Host = c.Self(), c.Self()
	c.Request(c.Child("console", func() supervise.Actor { return a.console }), messages.ConsoleAdopt{ID: 1, Limit: 1})
}

func (a *asker) Handle(_ *supervise.Context, message any) {
	if m, ok := message.(messages.Answer); ok {
		a.answered <- m.ID
	}
}

func (a *asker) Stopping(*supervise.Context, bool) {}

// TestAFIFOThatIsMadeAgain is read when its daemon gets its answer, also if the former one was being
// opened when it asked.
func TestAFIFOThatIsMadeAgain(t *testing.T) {
	dir, err := history.Open(t.TempDir(), time.Now)
	require.NoError(t, err)
	name := messages.Name{Label: "x"}
	path := fifo.Path(t.TempDir(), name)
	require.NoError(t, fifo.Create(path))
	a := &asker{
		&late{console: &console{Config: Config{Name: name, FIFO: path, History: dir}}, t: t},
		make(chan uint64, 2),
	}
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	_, err = system.Spawn("asker", func() supervise.Actor { return a }, supervise.Stop)
	require.NoError(t, err)
	require.EqualValues(t, 1, <-a.answered)
	require.EqualValues(t, 2, <-a.answered)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	require.NoError(t, err, "nobody reads it")
	require.NoError(t, unix.Close(fd))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, system.Shutdown(ctx))
	require.Zero(t, system.Bugs())
}

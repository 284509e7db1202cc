package console

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/history"
)

// A crowd has many consoles, and tells when all of them read their FIFOs.
type crowd struct {
	consoles []*console
	left     int
	open     chan struct{}
}

func (k *crowd) Started(c *supervise.Context) {
	for _, console := range k.consoles {
		pid := c.Child("console", func() supervise.Actor { return console })
		c.Request(pid, messages.ConsoleOpen{})
	}
}

func (k *crowd) Handle(_ *supervise.Context, message any) {
	if m, ok := message.(messages.ConsoleOpened); !ok || m.Err != "" {
		panic(fmt.Sprintf("unexpected %#v", message))
	}
	k.left--
	if k.left == 0 {
		close(k.open)
	}
}

func (k *crowd) Stopping(*supervise.Context, bool) {}

// TestAnIdleConsoleCostsLittle has many unikernels that have printed much, when
// a daemon begins to read what they print next: nothing.
func TestAnIdleConsoleCostsLittle(t *testing.T) {
	const consoles = 1000
	dir, err := history.Open(t.TempDir(), time.Now)
	require.NoError(t, err)
	fifos := t.TempDir()
	k := &crowd{left: consoles, open: make(chan struct{})}
	for i := range consoles {
		name := messages.Name{Label: messages.Label(fmt.Sprint(i))}
		path := fifo.Path(fifos, name)
		require.NoError(t, fifo.Create(path))
		k.consoles = append(k.consoles, &console{Config: Config{Name: name, FIFO: path, History: dir}})
	}
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	before, began := memory(), time.Now()
	_, err = system.Spawn("crowd", func() supervise.Actor { return k }, supervise.Stop)
	require.NoError(t, err)
	<-k.open
	took, each := time.Since(began), int(memory()-before)/consoles
	t.Logf("%d consoles are open after %v and take %d bytes each", consoles, took, each)
	require.Less(t, each, 20<<10)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, system.Shutdown(ctx))
	require.Zero(t, system.Bugs())
}

// memory is what is in use.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	storage "albatross/runtime/store"
)

// An asker passes requests on to the store, and the answers of the store to the test.
type asker struct {
	store *actor.PID
	heard chan any
}

func (a *asker) Started(*supervise.Context) {}

func (a *asker) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.StoreWrite, messages.StoreLoad:
		c.Request(a.store, m)
	case supervise.Crashed:
	default:
		a.heard <- m
	}
}

func (a *asker) Stopping(*supervise.Context, bool) {}

// A load sees all writes that were asked for before it, even if their commit is still under
// way, and even if that belongs to an incarnation that has failed.
func TestALoadSeesTheWritesBeforeIt(t *testing.T) {
	for name, faults := range map[string][]supervise.Rule{
		"no fault":        nil,
		"the store fails": {{Fault: supervise.CrashAfter, Kind: "store", Messages: []any{messages.StoreWrite{}}, Nth: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := storage.Open(t.TempDir())
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
			injected := supervise.NewFaults(0, nil)
			injected.Set(faults...)
			system.InjectFaults(injected)
			storing, err := system.Spawn("store", New(db, meter.New("test"), nil), supervise.Restart)
			require.NoError(t, err)
			a := &asker{storing.PID(), make(chan any, 10)}
			asking, err := system.Spawn("asker", func() supervise.Actor { return a }, supervise.Stop)
			require.NoError(t, err)

			const first, second = 3_000, 1
			asking.Send(messages.StoreWrite{ID: 1, Changes: manyEnds(0, first)}) // a commit that takes a while
			asking.Send(messages.StoreWrite{ID: 2, Changes: manyEnds(first, second)})
			asking.Send(messages.StoreLoad{ID: 3})
			want := first
			if faults == nil {
				want += second // where the store fails, its commit has not begun
			}
			require.Len(t, loadedOf(t, a.heard).State.Ends, want)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			require.NoError(t, system.Shutdown(ctx))
		})
	}
}

func loadedOf(t *testing.T, heard chan any) messages.StoreLoaded {
	for {
		select {
		case m := <-heard:
			if l, ok := m.(messages.StoreLoaded); ok {
				require.Empty(t, l.Err)
				return l
			}
		case <-time.After(time.Minute):
			require.FailNow(t, "no answer to the load")
		}
	}
}

// manyEnds returns changes of n names, which it numbers from first on.
func manyEnds(first, n int) (changes []messages.Change) {
	for i := range n {
		name := messages.Name{Label: messages.Label(fmt.Sprint("n", first+i))}
		changes = append(changes, messages.PutEnd{Name: name})
	}
	return changes
}

// TestACommitOutlivesItsIncarnation: who waits for it gets the answer that it deserves, once, from the
// incarnation that follows. Otherwise the same would be stored again, with its events.
func TestACommitOutlivesItsIncarnation(t *testing.T) {
	db, err := storage.Open(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	faults := supervise.NewFaults(0, nil)
	faults.Set(supervise.Rule{Fault: supervise.CrashAfter, Kind: "store", Messages: []any{messages.StoreWrite{}}, Nth: 2})
	system.InjectFaults(faults)
	storing, err := system.Spawn("store", New(db, meter.New("test"), nil), supervise.Restart)
	require.NoError(t, err)
	a := &asker{storing.PID(), make(chan any, 10)}
	asking, err := system.Spawn("asker", func() supervise.Actor { return a }, supervise.Stop)
	require.NoError(t, err)

	asking.Send(messages.StoreWrite{ID: 1, Changes: manyEnds(0, 3_000)}) // a commit that takes a while
	asking.Send(messages.StoreWrite{ID: 2, Changes: manyEnds(3_000, 1)}) // at which the store fails
	asking.Send(messages.StoreWrite{ID: 3, Changes: manyEnds(3_001, 1)})
	answers := map[uint64]messages.Public{}
	for len(answers) < 3 {
		select {
		case m := <-a.heard:
			written := m.(messages.StoreWritten)
			require.NotContains(t, answers, written.ID, "it is answered once")
			answers[written.ID] = written.Err
		case <-time.After(time.Minute):
			require.FailNow(t, "no answer to a write", "%v", answers)
		}
	}
	require.Equal(t, map[uint64]messages.Public{1: "", 2: messages.StoreFailed, 3: ""}, answers)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, system.Shutdown(ctx))
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
	"albatross/test/hostile"
)

// starters is how many processes are started at the same time.
const starters = 8

// TestHostileNumberOfEnds: so many processes end while no daemon runs, some hundred at a time,
// and nobody acknowledges that. The daemon that does gets all of them, and nothing is left of
// them afterwards.
func TestHostileNumberOfEnds(t *testing.T) {
	batches, each := hostile.Choose(3, 20), hostile.Choose(50, 500)
	w := newWorld(t)
	w.serve()
	w.rest()
	before := descriptors(t, w.keeper)
	want := map[messages.Process]messages.Exit{}
	for batch := range batches {
		running := w.batch(batch, each)
		w.disconnect()
		for p := range running {
			require.NoError(t, unix.Kill(p.PID, unix.SIGUSR1))
		}
		w.until("all end", func() bool { return len(runningOf(running)) == 0 })
		for p, exit := range running {
			want[p] = exit
		}
		w.forgetEnds()
		w.connect()
		w.until("all ends are reported", func() bool { return w.endsReported() == len(want) })
	}
	w.requireEnds(want)
	w.rest()
	t.Logf("%d kB resident with %d ends", resident(t, w.keeper), len(want))
	for p := range want {
		require.NoError(t, w.client.Forget(t.Context(), p))
	}
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	w.rest()
	require.Equal(t, before, descriptors(t, w.keeper))
	info, err := os.Stat(filepath.Join(w.dbdir, wire.Dir, wire.Journal))
	require.NoError(t, err)
	t.Logf("the journal has %d bytes", info.Size())
}

// batch starts processes that a signal ends.
func (w *world) batch(batch, many int) map[messages.Process]messages.Exit {
	w.t.Helper()
	started := make(chan guest, many)
	var starting sync.WaitGroup
	for s := range starters {
		starting.Go(func() {
			for i := s; i < many; i += starters {
				g, err := start(w.ctx(), w.client, orderOf(fmt.Sprintf("n%d-%d", batch, i), "/bin/sleep", "600"))
				if err != nil {
					w.t.Error(err)
					return
				}
				started <- g
			}
		})
	}
	starting.Wait()
	close(started)
	running := map[messages.Process]messages.Exit{}
	for g := range started {
		g.open(w.t)
		g.Close()
		running[g.Process] = messages.Exit{Known: true, Signal: int(unix.SIGUSR1)}
	}
	require.Len(w.t, running, many)
	return running
}

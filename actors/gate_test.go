package actors_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// TestWhatWaitsAtItsGateIsNoTender: a daemon was killed before it released a process. The next
// daemon starts so fast that the process is still there. The process ends by itself, which is no
// end of the unikernel.
func TestWhatWaitsAtItsGateIsNoTender(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	old := w.pid(":x")
	w.shutdown()
	w.killAndReap(old)

	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { _ = null.Close() }()
	gated, err := tender.Launch(t.Context(), tender.Command{Launcher: w.guests.Launcher, Program: builtin, Output: null})
	require.NoError(t, err)
	db, err := store.Open(w.dir)
	require.NoError(t, err)
	require.NoError(t, db.Apply([]messages.Change{
		messages.PutRuntime{Name: messages.Name{Label: "x"}, Runtime: messages.Runtime{Process: gated.Process()}},
	}))
	require.NoError(t, db.Close())

	w.start()
	w.until("it is started", func() bool { return len(w.infos(":")) == 1 })
	require.NotEqual(t, gated.Process().PID, w.pid(":x"))
	state, err := w.config.DB.Load()
	require.NoError(t, err)
	require.Empty(t, state.Ends)
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"restarting: the daemon ended while it started or replaced it", "started: the daemon ended while it started or replaced it")
	require.NoError(t, gated.Abort())
}

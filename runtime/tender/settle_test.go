package tender_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// gated is a process at its gate, and a handle of it as another daemon has one.
func gated(t *testing.T, script string) (*tender.Gated, *proc.Handle) {
	t.Helper()
	g, err := tender.Launch(t.Context(), shell(newConsole(t).writer, script))
	require.NoError(t, err)
	h, err := proc.Open(g.Process())
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return g, h
}

func TestSettleEndsWhatWaitsAtItsGate(t *testing.T) {
	g, h := gated(t, "exec sleep 1h")
	require.ErrorIs(t, tender.Settle([]string{self(), "launch"}, h), proc.ErrGone)
	require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGKILL)}, ended(t, h))
	require.NoError(t, g.Abort())
	noChildren(t)
}

func TestSettleLeavesATenderAlone(t *testing.T) {
	g, h := gated(t, "exec sleep 1h")
	require.NoError(t, g.Release(t.Context()))
	require.NoError(t, tender.Settle([]string{self(), "launch"}, h))
	require.False(t, h.Ended())
	require.NoError(t, g.Handle().Signal(unix.SIGTERM))
	require.Equal(t, messages.Exit{Known: true, Signal: int(unix.SIGTERM)}, ended(t, g.Handle()))
	require.ErrorIs(t, tender.Settle([]string{self(), "launch"}, h), proc.ErrGone, "it has ended before")
	require.NoError(t, g.Handle().Close())
	noChildren(t)
}

package network

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// TestWhatHasEndedIsNotPluggedInAgain: a network that could not be made at the start is tried again,
// while a unikernel that a former daemon has started has ended.
func TestWhatHasEndedIsNotPluggedInAgain(t *testing.T) {
	n := New(t.TempDir(), "none", "test", slog.New(slog.DiscardHandler))
	named := messages.NamedNetwork{Name: messages.Name{Label: "n"}, Spec: messages.NetworkSpec{Backend: messages.UserNetwork}}
	running := []Station{
		{Unikernel: messages.Name{Label: "stays"}, MAC: messages.MAC{2, 0, 0, 0, 0, 1}},
		{Unikernel: messages.Name{Label: "ends"}, MAC: messages.MAC{2, 0, 0, 0, 0, 2}},
	}
	require.Len(t, n.known("n", named, running).stations, 2)
	n.Unplug(t.Context(), running[1].Unikernel)
	stations := n.known("n", named, running).stations
	require.Len(t, stations, 1)
	require.Contains(t, stations, running[0].MAC)
}

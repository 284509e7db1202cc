package guest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
)

// TestEndsOfUnknownProcesses: the keeper must forget a process of which this daemon never learns that
// it was started, and no other.
func TestEndsOfUnknownProcesses(t *testing.T) {
	process := func(pid int) messages.Process { return messages.Process{PID: pid} }
	recorded, ours, unknown := process(1), process(2), process(3)
	k := &Keeping{wake: make(chan struct{}, 1), kept: map[messages.Process]*kept{}}
	k.noteEnd("early", unknown, wire.End{})
	require.Empty(t, k.needless(), "it is not known yet what is on record")
	(&Machine{Keeping: k}).AcknowledgeOthers(map[messages.Process]bool{recorded: true})
	require.Equal(t, []messages.Process{unknown}, k.needless())
	delete(k.kept, unknown)

	end := k.beginLaunch()
	k.noteEnd("x", ours, wire.End{})
	k.noteEnd("x", unknown, wire.End{})
	k.noteEnd("y", recorded, wire.End{})
	require.Empty(t, k.needless(), "it may be that which is being launched")
	k.kept[ours].ours = true
	end()
	require.Equal(t, []messages.Process{unknown}, k.needless())
	require.Len(t, k.wake, 1, "it is done at once")

	delete(k.kept, unknown)
	k.noteEnd("x", unknown, wire.End{})
	require.Equal(t, []messages.Process{unknown}, k.needless(), "also when none is being launched")
}

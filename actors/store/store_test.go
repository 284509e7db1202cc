package store

import (
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// Events are in the order of time, though some are stored later than others. They are not where the
// clock was set back.
func TestEventsAreInOrder(t *testing.T) {
	var s store
	for _, tc := range []struct{ now, happened, stored int64 }{
		{10, 9, 9}, {10, 10, 10}, {11, 8, 10}, {12, 12, 12},
		{5, 5, 5}, {6, 4, 5}, {7, 7, 7},
	} {
		writes := []write{{changes: []messages.Change{messages.MarkImported{}, messages.PutEvent{Event: messages.Event{AtMillis: tc.happened}}}}}
		s.order(writes, tc.now)
		require.Equal(t, tc.stored, writes[0].changes[1].(messages.PutEvent).Event.AtMillis, "%v", tc)
	}
}

// A fullDisk refuses some of the changes that it is asked for, and remembers the others.
type fullDisk struct {
	DB
	refuses []bool
	stored  []messages.Change
}

func (d *fullDisk) Apply(changes []messages.Change) error {
	refuses := d.refuses[0]
	d.refuses = d.refuses[1:]
	if refuses {
		return unix.ENOSPC
	}
	d.stored = append(d.stored, changes...)
	return nil
}

// TestEventsThatComeLateComeInOrder: an event that nobody waits for cannot be stored, and the one after
// it can.
func TestEventsThatComeLateComeInOrder(t *testing.T) {
	happened := func(kind messages.EventKind) messages.Change {
		return messages.PutEvent{Event: messages.Event{Kind: kind}}
	}
	somebody := &actor.PID{}
	writes := []write{
		{changes: []messages.Change{happened(messages.EventStarted), messages.MarkImported{}}},
		{changes: []messages.Change{happened(messages.EventAdopted)}},
		{pid: somebody, changes: []messages.Change{happened(messages.EventCreated)}},
		{pid: somebody, changes: []messages.Change{happened(messages.EventExited)}},
		{changes: []messages.Change{happened(messages.EventDestroyed)}},
	}
	const fails, works = true, false
	disk := &fullDisk{refuses: []bool{fails, fails, fails, fails, works, fails}}
	errs := apply(disk, slices.Clone(writes))
	require.Equal(t, []error{nil, nil, unix.ENOSPC, nil, unix.ENOSPC}, errs)
	require.Equal(t, []messages.Change{
		happened(messages.EventStarted), happened(messages.EventAdopted), happened(messages.EventExited),
	}, disk.stored)
}

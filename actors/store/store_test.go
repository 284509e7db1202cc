package store

import (
	"testing"

	"github.com/stretchr/testify/require"

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

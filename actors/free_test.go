package actors_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/actors/host"
	"albatross/messages"
)

// A stubbornMachine fails some times to free what a unikernel had.
type stubbornMachine struct {
	host.Machine
	failures atomic.Int32
	freed    atomic.Int32
}

func (m *stubbornMachine) Free(name messages.Name, taps []messages.Link) error {
	if m.failures.Add(-1) >= 0 {
		return errors.New("no buffer space available")
	}
	m.freed.Add(1)
	return m.Machine.Free(name, taps)
}

// TestAFailureToFreeIsNotTheLastTry: a tap that stayed would be nobody's. The answer comes when all is
// freed.
func TestAFailureToFreeIsNotTheLastTry(t *testing.T) {
	m := &stubbornMachine{}
	w := newWorld(t, func(w *world) { m.Machine, w.config.Machine = w.config.Machine, m })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	m.failures.Store(2)
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	require.Equal(t, int32(1), m.freed.Load())
}

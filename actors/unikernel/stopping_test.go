package unikernel

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/runtime/guest"
)

// slowEquipment takes a while to close, as the kernel does to remove taps.
type slowEquipment struct {
	guest.Equipment
	goOn, closed chan struct{}
}

func (e slowEquipment) Close() {
	<-e.goOn
	close(e.closed)
}

// A unikernel that stops does not wait for its taps to be removed, but the system does.
func TestStoppingDoesNotWaitForTaps(t *testing.T) {
	system := supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	e := slowEquipment{goOn: make(chan struct{}), closed: make(chan struct{})}
	ref, err := system.Spawn("unikernel", func() supervise.Actor { return &unikernel{equipment: e} }, supervise.Restart)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, ref.Stop(ctx))
	close(e.goOn)
	require.NoError(t, system.Shutdown(ctx))
	select {
	case <-e.closed:
	default:
		require.FailNow(t, "the taps are not closed")
	}
}

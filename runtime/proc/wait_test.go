package proc

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process whose exit the daemon may not see gets a moment, since its parent may reap it. A
// running process stands for it here: root may see all exits.
func TestWaitForWhatIsNotReaped(t *testing.T) {
	cmd := exec.Command("sleep", "1h")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	p, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
	h, err := Open(p)
	require.NoError(t, err)
	defer func() { _ = h.Close() }()

	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.waitReaped(short), context.DeadlineExceeded)
	require.NoError(t, h.waitReaped(t.Context()))
	require.Equal(t, End{}, h.end)
}

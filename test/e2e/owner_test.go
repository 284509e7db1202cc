package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheDirectoryOfAnotherDaemon: a daemon with another database does not begin where
// unikernels run whose daemon does not.
func TestTheDirectoryOfAnotherDaemon(t *testing.T) {
	h := newHost(t)
	h.create("one", guest("hello"))
	pid := h.pid("one")
	h.subscribe("one", 0).line()
	h.kill()

	other := newHost(t)
	require.NoError(t, other.stop())
	says := h.refused("--dbdir", other.path("db"))
	require.Contains(t, says, "cannot use "+h.dir+": it belongs to the daemon with --dbdir "+h.path("db"))
	require.Contains(t, says, "use that --dbdir, or another --tmpdir")

	h.start()
	require.Equal(t, pid, h.pid("one"))
	h.subscribe("one", 0).line()
	h.subscribe("one", 0).line()
}

package e2e

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// sweep removes all below the directory of the daemon that is no state, as a service
// does that cleans up.
func (h *host) sweep() {
	h.t.Helper()
	for _, dir := range []string{"util", "fifo"} {
		require.NoError(h.t, os.RemoveAll(h.path(dir)))
	}
}

// TestSwept: a daemon under whom everything is removed is there again for its clients,
// and so is the next one; the unikernel goes on all the time, and its console with it.
func TestSwept(t *testing.T) {
	h := newHost(t)
	h.create("one", guest("hello"))
	pid := h.pid("one")
	old := h.subscribe("one", 0)
	old.line()

	h.sweep()
	h.until("the daemon can be reached", h.answers)
	old.line()
	h.subscribe("one", 0).line()
	require.Equal(t, pid, h.pid("one"))
	h.create("two", guest("hello"))
	h.subscribe("two", 1).line()
	h.requireText("destroyed unikernel", "two", messages.UnikernelDestroy{})
	h.requireText("created unikernel", "one", messages.UnikernelRestart{Form: messages.RestartSame})
	h.subscribe("one", 0).line()
	pid = h.pid("one")

	h.sweep()
	h.kill()
	h.start()
	h.subscribe("one", 0).line()
	h.subscribe("one", 0).line()
	require.Equal(t, pid, h.pid("one"))

	h.kill()
	h.sweep()
	h.start()
	h.subscribe("one", 0).line()
	require.Equal(t, pid, h.pid("one"))
	require.Contains(t, h.log(), "The file of a socket was gone")
}

// TestSweptUnderSystemd: nobody hears on the sockets that systemd has opened when
// their files have gone.
func TestSweptUnderSystemd(t *testing.T) {
	s := newSystemd(t)
	s.listenAsUnits()
	s.boot()
	s.create("one", guest("hello"))
	s.sweep()
	s.until("the daemon can be reached", s.answers)
	s.subscribe("one", 0).line()
	s.kill()
	s.sweep()
	s.boot()
	s.until("the next one can be reached", s.answers)
	s.subscribe("one", 0).line()
	for _, path := range s.paths { // they are removed when the test ends
		require.FileExists(t, path)
	}
	require.NoError(t, s.stop())
	s.sockets, s.paths, s.names = nil, nil, nil
}

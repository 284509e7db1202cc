package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/netns"
)

// TestStopUnikernels: a daemon with that option stops all unikernels when it is stopped, and not
// when it is killed. The next one starts them, lowest startup number first.
func TestStopUnikernels(t *testing.T) {
	withBridges(t, "service")
	h := emptyHost(t)
	h.startWith("--stop-unikernels")
	port := netns.NewPort(t, "service")
	others := netns.Ports(t, "service")
	configs := map[string]messages.Config{
		"a": echo("service"), "b": guest("hello"), "c": guest("hello"), "d": guest("hello"), "e": guest("hello"),
	}
	pids := map[string]int{}
	for name, c := range configs {
		c.Startup = messages.Some(int('z' - name[0]))
		h.create(name, c)
		pids[name] = h.pid(name)
	}
	h.kill()
	for name, pid := range pids {
		require.Equal(t, pid, h.pid(name), "the daemon was killed")
	}

	h.startWith("--stop-unikernels")
	require.NoError(t, h.stop())
	require.Empty(t, h.processes())
	require.Equal(t, others, netns.Ports(t, "service"), "taps that are left")
	require.Empty(t, h.files("fifo"))
	require.Empty(t, h.cgroupParents())

	h.start()
	h.until("all run again", func() bool { return len(h.infos(":")) == len(configs) })
	started := map[string]time.Time{}
	for _, i := range h.infos(":") {
		started[i.Name.String()] = i.Info.Started
	}
	for _, pair := range [][2]string{{":e", ":d"}, {":d", ":c"}, {":c", ":b"}, {":b", ":a"}} {
		require.True(t, started[pair[0]].Before(started[pair[1]]), "%v: %v", pair, started)
	}
	requireEcho(t, port, h.infos("a")[0].Info.Networks[0].Address())
}

// startWith starts a daemon with more arguments, and waits until it answers.
func (h *host) startWith(args ...string) {
	h.t.Helper()
	h.launch(h.command(args...))
	h.until("the daemon answers", h.answers)
}

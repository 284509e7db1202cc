package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/tender"
)

// TestConsolesInAllModes: daemons with and without a keeper follow each other, some are
// killed, and all below their directory is removed in between. Whoever has started a
// unikernel, none of its lines is lost or told twice, and its console has no name. That of
// a native daemon, or of an earlier one of ours, has one until it ends.
func TestConsolesInAllModes(t *testing.T) {
	h := emptyHost(t)
	named := messages.Name{Label: "named"}
	h.leaveNative(messages.NamedConfig{Name: named, Config: guest("hello")})
	_, ended := h.runNative(named, tender.Guest{Memory: 16, Argv: []string{}})
	had := map[string]int{"named": 0}
	for i, mode := range []struct {
		keeper, killed, keeperKilled, swept bool
	}{
		{keeper: true},
		{swept: true},
		{keeper: true, killed: true, swept: true},
		{killed: true},
		{keeper: true, killed: true, keeperKilled: true},
		{keeper: true, killed: true, swept: true},
		{},
	} {
		if h.args = nil; !mode.keeper {
			h.args = []string{noKeeper}
		}
		h.start()
		name := "n" + strconv.Itoa(i)
		h.create(name, guest("hello"))
		had[name] = 0
		h.requireTicks(had)
		if i == 0 {
			require.Equal(t, []string{":named"}, h.files("fifo"))
		}
		h.untilStored()
		if mode.killed {
			h.kill()
		} else {
			require.NoError(t, h.stop())
		}
		if mode.keeperKilled {
			h.killKeeper()
		}
		if mode.swept {
			h.sweep()
		}
	}
	h.start()
	h.requireTicks(had)
	h.requireText("destroyed unikernel", "named", messages.UnikernelDestroy{})
	<-ended
	require.NoError(t, os.RemoveAll(h.path("bin")))
	h.killKeeper() // no daemon that wants one will come
}

// requireTicks waits until each unikernel has printed more than it had before, and requires
// that all is there, once.
func (h *host) requireTicks(had map[string]int) {
	h.t.Helper()
	consoles := map[string]*follower{}
	for name := range had {
		consoles[name] = h.subscribe(name, 1024)
		defer consoles[name].conn.Close()
	}
	for name, f := range consoles {
		f.line() // its greeting
		had[name]++
		for n := 1; n <= had[name]; n++ {
			require.Equal(h.t, fmt.Sprint("tick ", n), f.line(), name)
		}
	}
}

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/confine"
	"albatross/test/guests"
)

// TestUnikernelsAreUsersOfTheirOwn under a daemon that is root, with and without a keeper. The
// next daemon and the next keeper take them over all the same, read their consoles and their
// statistics, and end them.
func TestUnikernelsAreUsersOfTheirOwn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a tender another user")
	}
	for title, args := range map[string][]string{"with a keeper": nil, "without": {noKeeper}} {
		t.Run(title, func(t *testing.T) {
			h := newHostOn(t, false, args...)
			targets := map[string]messages.Config{"spt": guest("hello")}
			if guests.KVM() == nil {
				targets["hvt"] = hvtGuest(t, "hello")
			}
			pids := map[string]int{}
			for name, c := range targets {
				h.create(name, c)
				pids[name] = h.pid(name)
				h.requireOwnUser(pids[name])
			}
			h.untilStored()
			h.kill()
			h.killKeeper()
			h.start()
			for name, pid := range pids {
				require.Equal(t, pid, h.pid(name), "it is taken over")
				f := h.subscribe(name, 1)
				f.line()
				f.line() // which it has printed since
				h.requireText("destroyed unikernel", name, messages.UnikernelDestroy{})
			}
			require.NotContains(t, h.log(), "confined less")
		})
	}
}

// requireOwnUser checks that a process has been given a user, and an empty directory of this
// host as its root.
func (h *host) requireOwnUser(pid int) {
	h.t.Helper()
	h.until("it is a user of its own", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		require.NoError(h.t, err)
		return strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", confine.Own(pid)))
	})
	root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
	require.NoError(h.t, err)
	require.Equal(h.t, h.path("empty"), root)
}

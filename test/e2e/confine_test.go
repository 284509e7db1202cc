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

// TestADaemonWithFewCapabilities starts unikernels all the same, takes them over, and logs once
// what they do without.
func TestADaemonWithFewCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root has capabilities")
	}
	for without, missing := range map[string][]string{
		"-sys_ptrace": {"tenders are not users of their own: CAP_SYS_PTRACE is missing"},
		"-setuid,-sys_admin": {"tenders are not users of their own: CAP_SETUID is missing", "tenders have no namespaces of their own: CAP_SYS_ADMIN is missing",
			"tenders share the mounts and the network of the machine: CAP_SYS_ADMIN is missing"},
		"-setpcap,-setgid,-sys_chroot": {
			"tenders are not users of their own: CAP_SETGID is missing", "tenders keep the root directory: CAP_SYS_CHROOT is missing",
			"tenders share the mounts and the network of the machine: CAP_SYS_CHROOT is missing",
		},
	} {
		t.Run(without, func(t *testing.T) {
			h := emptyHost(t)
			h.without = without
			h.start()
			h.create("one", guest("hello"))
			h.create("two", guest("hello", "--quiet"))
			pid := h.pid("one")
			h.until("it has no capabilities", func() bool {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
				require.NoError(t, err)
				return strings.Contains(string(status), "\nUid:\t0\t") && strings.Contains(string(status), "\nCapEff:\t0000000000000000\n")
			})
			h.untilStored()
			h.kill()
			h.killKeeper()
			h.start()
			require.Equal(t, pid, h.pid("one"), "it is taken over")
			f := h.subscribe("one", 1)
			f.line()
			f.line()
			h.requireText("destroyed unikernel", "one", messages.UnikernelDestroy{})
			for _, text := range missing {
				require.Contains(t, h.log(), text)
				require.LessOrEqual(t, strings.Count(h.log(), text), 2, "each daemon tells it once")
			}
		})
	}
}

// requireOwnUser checks that a process has been given a user, and is in a void.
func (h *host) requireOwnUser(pid int) {
	h.t.Helper()
	h.until("it is a user of its own", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		require.NoError(h.t, err)
		return strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", confine.Own(pid)))
	})
	for _, kind := range []string{"mnt", "net"} {
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		require.NoError(h.t, err)
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		require.NoError(h.t, err)
		require.NotEqual(h.t, ours, its)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid))
	require.NoError(h.t, err)
	require.Empty(h.t, files)
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// TestIsolation: a unikernel has of its host only what it was given.
func TestIsolation(t *testing.T) {
	withBridges(t, "service")
	h := newHost(t)
	c := echo("service")
	c.CPUIDs = []int{h.lastCPU()}
	f := h.subscribe("echo", 0)
	h.create("echo", c)
	f.line() // from here on the process is the unikernel
	pid := h.pid("echo")

	require.Equal(t, map[string]string{
		"0": "/dev/null", "1": h.path("fifo/:echo") + " (deleted)", "2": h.path("fifo/:echo") + " (deleted)",
		"3": "anon_inode:[eventpoll]", "4": "anon_inode:[timerfd]", // the guest waits with these
		"5": "/dev/net/tun",
	}, descriptors(t, pid))
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	require.NoError(t, err)
	require.Empty(t, environment)
	session, err := unix.Getsid(pid)
	require.NoError(t, err)
	require.Equal(t, pid, session)
	require.Equal(t, "1", statusOf(t, pid, "NoNewPrivs"))
	require.Equal(t, "2", statusOf(t, pid, "Seccomp"), "a filter")
	require.Equal(t, strconv.Itoa(c.CPUIDs[0]), statusOf(t, pid, "Cpus_allowed_list"))
	t.Run("cgroup", func(t *testing.T) { h.requireLimits(t, pid, c) })
}

// TestCPUsWithoutCgroups: a unikernel runs on the CPUs of its arguments where there are no cgroups,
// too.
func TestCPUsWithoutCgroups(t *testing.T) {
	h := emptyHost(t)
	h.args = []string{"--cgroup", ""}
	h.start()
	c := guest("hello")
	c.CPUIDs = []int{h.lastCPU()}
	h.create("hello", c)
	require.Equal(t, strconv.Itoa(c.CPUIDs[0]), statusOf(t, h.pid("hello"), "Cpus_allowed_list"))
	require.Empty(t, h.cgroupParents())
}

// lastCPU returns a CPU of this machine that is not the usual one, if there is more than one.
func (h *host) lastCPU() int {
	h.t.Helper()
	cpus := h.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List[0].Policy.CPUIDs
	return cpus[len(cpus)-1]
}

// descriptors returns what a process has open, by descriptor.
func descriptors(t *testing.T, pid int) map[string]string {
	t.Helper()
	open := map[string]string{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, link := range links {
		open[filepath.Base(link)], err = os.Readlink(link)
		require.NoError(t, err)
	}
	return open
}

// requireLimits checks that the process of the unikernel :echo is in a cgroup of its own, which
// limits its memory and its CPUs.
func (h *host) requireLimits(t *testing.T, pid int, c messages.Config) {
	dirs := h.cgroups()
	if len(dirs) == 0 {
		t.Skip("this machine has no cgroups that the daemon can use")
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	require.NoError(t, err)
	require.Equal(t, len(dirs), strings.Count(string(groups), ":/"+h.cgroup()+"/:echo\n"))
	for _, dir := range dirs {
		require.Equal(t, ":echo", filepath.Base(dir))
		require.Equal(t, []string{strconv.Itoa(pid)}, valuesIn(t, filepath.Join(dir, "cgroup.procs")))
	}
	memory, cpus := h.limit("memory.max", "memory.limit_in_bytes"), h.limit("cpuset.cpus")
	require.Len(t, memory, 1)
	limit, err := strconv.Atoi(memory[0])
	require.NoError(t, err)
	require.Greater(t, limit, c.Memory*megabyte)
	require.Less(t, limit, (c.Memory+128)*megabyte, "what a tender needs besides is much less")
	if len(cpus) > 0 {
		require.Equal(t, []string{strconv.Itoa(c.CPUIDs[0])}, cpus)
	}
}

// limit returns the contents of files of these names, in the cgroups of all unikernels.
func (h *host) limit(files ...string) (values []string) {
	h.t.Helper()
	for _, dir := range h.cgroups() {
		entries, err := os.ReadDir(dir)
		require.NoError(h.t, err)
		for _, e := range entries {
			if slices.Contains(files, e.Name()) {
				values = append(values, valuesIn(h.t, filepath.Join(dir, e.Name()))...)
			}
		}
	}
	return values
}

func valuesIn(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return strings.Fields(string(text))
}

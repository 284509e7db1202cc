package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// processes returns those of the unikernels of this host, by the names in their arguments: tenders
// have the image, which is below dir, in their command line.
func (h *host) processes() map[string][]int {
	pids := map[string][]int{}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(h.t, err)
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(line, []byte(h.dir+"/")) || bytes.Contains(line, []byte("--dbdir")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(h.t, err)
		label := labelOf(line)
		pids[label] = append(pids[label], pid)
	}
	return pids
}

// labelOf returns the name that a tender gives its unikernel.
func labelOf(line []byte) string {
	for _, arg := range strings.Split(string(line), "\x00") {
		if label, ok := strings.CutPrefix(arg, "--name="); ok {
			return label
		}
	}
	return ""
}

// appeared returns the processes of a unikernel that has been created. For a moment in the middle
// of exec, the system does not show the command line.
func (h *host) appeared(label string) []int {
	for begun := time.Now(); time.Since(begun) < patience; {
		if pids := h.processes()[label]; len(pids) > 0 {
			return pids
		}
	}
	return nil
}

// pid returns that of the only process of a unikernel.
func (h *host) pid(label string) int {
	h.t.Helper()
	pids := h.appeared(label)
	require.Len(h.t, pids, 1, "processes of %s", label)
	return pids[0]
}

// settledProcesses returns those of all unikernels. In the middle of an exec the system does not
// show what a process is.
func (h *host) settledProcesses() (pids map[string][]int) {
	h.t.Helper()
	running := len(h.infos(":"))
	h.until("each unikernel has a process", func() bool {
		pids = h.processes()
		return count(pids) == running
	})
	return pids
}

func count(pids map[string][]int) (n int) {
	for _, list := range pids {
		n += len(list)
	}
	return n
}

// peak returns the most memory that the daemon has had, in bytes.
func (h *host) peak() int {
	h.t.Helper()
	kb, err := strconv.Atoi(strings.TrimSuffix(statusOf(h.t, h.daemon.Process.Pid, "VmHWM"), " kB"))
	require.NoError(h.t, err)
	return kb << 10
}

// statusOf returns a line of the status of a process.
func statusOf(t *testing.T, pid int, key string) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "\n"+key+":")
	require.True(t, found, key)
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

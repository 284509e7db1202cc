package e2e

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/hostile"
)

const (
	// daemonMemory is what the daemon and the files that it has read may take.
	daemonMemory = 512 << 20
	// greedyClients are how many clients send so much each, at once.
	greedyClients = 24
	greedySends   = 64 << 20
)

// TestMemoryOfACgroup: clients that send more than there is memory for all at once
// do not have the kernel end the daemon.
func TestMemoryOfACgroup(t *testing.T) {
	inside := memoryCgroup(t, daemonMemory) // which is removed when the host is
	h := emptyHost(t)
	h.inside = inside
	h.start()
	h.create("canary", guest("hello", "--quiet"))
	daemon, canary := h.daemon.Process.Pid, h.pid("canary")
	require.FileExists(t, filepath.Join(h.inside, "cgroup.procs"))

	junk := make([]byte, greedySends)
	var sending sync.WaitGroup
	for range greedyClients {
		sending.Go(func() {
			c, err := net.Dial("unix", h.socket("vmmd"))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err = c.Write(binary.BigEndian.AppendUint32(nil, greedySends)); err == nil {
				_, _ = c.Write(junk) // whoever waits too long for memory is cut off
			}
			if err != nil {
				t.Error(err)
			}
			_, _ = c.Read(make([]byte, 1)) // what it is told, or its end
		})
	}
	sending.Wait()
	t.Logf("the daemon had %d MB at most", h.peak()>>20)
	require.Len(t, h.infos("canary"), 1)
	require.Equal(t, daemon, h.daemon.Process.Pid)
	require.Equal(t, canary, h.pid("canary"))
}

// TestHostileAnswers: clients that ask for a large image, and do not read it, do not have the
// kernel end the daemon. Each gets its answer, or why there is none.
func TestHostileAnswers(t *testing.T) {
	inside := memoryCgroup(t, daemonMemory) // which is removed when the host is
	h := emptyHost(t)
	h.inside = inside
	h.start()
	const size = 32 << 20
	large := guest("hello", "--quiet")
	large.Image = append(large.Image, make([]byte, size-len(large.Image))...)
	large.Memory = 2 * size >> 20
	h.create("large", large)
	daemon, unikernel := h.daemon.Process.Pid, h.pid("large")

	header := messages.Header{Version: messages.CurrentVersion, Name: messages.Name{Label: "large"}}
	get, err := wire.AppendFrame(nil, messages.Wire{Header: header, Payload: messages.UnikernelGet{Form: 3}})
	require.NoError(t, err)
	clients := hostile.Choose(greedyClients, 200)
	var begun sync.WaitGroup
	for range clients {
		c := h.dial("vmmd") // until the test ends
		begun.Go(func() {
			if _, err := c.Write(get); err != nil {
				t.Error(err)
				return
			}
			if _, err := c.Read(make([]byte, 1)); err != nil { // no more of it
				t.Error(err)
			}
		})
	}
	begun.Wait()
	t.Logf("the daemon had %d MB at most", h.peak()>>20)
	hostile.Figure(t, "clients that asked for 32 MB each and did not read them", clients)
	require.Len(t, h.infos("large"), 1)
	require.Equal(t, daemon, h.daemon.Process.Pid)
	require.Equal(t, unikernel, h.pid("large"))
}

// memoryCgroup makes a cgroup for the daemon alone, with a limit in bytes.
func memoryCgroup(t *testing.T, limit int) string {
	parent, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(parent); err != nil {
		parent, file = "/sys/fs/cgroup", "memory.max"
	}
	dir, err := os.MkdirTemp(parent, "e2e-memory")
	if err != nil {
		t.Skipf("there is no cgroup that limits memory: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600))
	return dir
}

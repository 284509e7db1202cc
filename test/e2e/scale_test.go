package e2e

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/hostile"
)

const (
	// creators is how many clients create at the same time.
	creators = 8
	// sample is how many consoles are read.
	sample = 20
	// daemonFiles and keeperFiles are how many descriptors a unikernel costs at most: the
	// daemon has its pidfd, its console, an epoll and the history; the keeper has its pidfd
	// and its console, and the history while it reads. The units allow 65,536 to each.
	daemonFiles = 5
	keeperFiles = 3
)

// TestHostileNumber: so many unikernels go on while daemon and keeper are killed, in all
// orders, and no line of them is lost. The soft limit of descriptors may be low.
func TestHostileNumber(t *testing.T) {
	h := emptyHost(t)
	h.fewFiles = true
	h.start()
	many := hostile.Choose(50, min(1000, h.fits()))
	daemonBefore, keeperBefore := filesOf(t, h.daemon.Process.Pid), filesOf(t, h.keeper())
	var creating sync.WaitGroup
	for c := range creators {
		creating.Go(func() {
			for i := c; i < many; i += creators {
				if answer, err := h.tryAsk(fmt.Sprint("n", i), create(guest("hello"))); err != nil || answer != (messages.SuccessText{Text: "created unikernel"}) {
					t.Errorf("create: %v %v", answer, err)
				}
			}
		})
	}
	creating.Wait()
	had := map[string]int{}
	for i := range min(sample, many) {
		had[fmt.Sprint("n", i*many/sample)] = 0
	}
	pids := h.settledProcesses()
	require.Len(t, pids, many)
	require.Greater(t, filesOf(t, h.daemon.Process.Pid), softFiles)
	check := func() {
		t.Helper()
		h.until("the daemon has all", func() bool { return len(h.infos(":")) == many })
		require.Equal(t, pids, h.processes())
		h.requireTicks(had)
		h.until("there is a keeper", func() bool { return h.keeper() != 0 })
		daemon, keeper := filesOf(t, h.daemon.Process.Pid)-daemonBefore, filesOf(t, h.keeper())-keeperBefore
		t.Logf("for %d unikernels, the daemon has %d descriptors, and the keeper %d", many, daemon, keeper)
		require.LessOrEqual(t, daemon, many*daemonFiles+sample)
		require.LessOrEqual(t, keeper, many*keeperFiles+sample)
	}
	check()
	h.untilStored()

	h.kill()
	h.start()
	check()
	h.killKeeper()
	check()
	h.kill()
	h.killKeeper()
	h.start()
	check()

	// Without a descriptor left, nothing new can be started, and all else goes on.
	conn := h.dial("vmmd")
	defer conn.Close()
	h.infos(":") // on a later connection: that one has been accepted
	var usual unix.Rlimit
	daemon := h.daemon.Process.Pid
	require.NoError(t, unix.Prlimit(daemon, unix.RLIMIT_NOFILE, nil, &usual))
	require.NoError(t, unix.Prlimit(daemon, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: softFiles, Max: usual.Max}, nil))
	say(t, conn, "more", create(guest("hello")))
	require.Contains(t, hear(t, conn).Payload.(messages.Failure).Text, "too many open files")
	require.NoError(t, unix.Prlimit(daemon, unix.RLIMIT_NOFILE, &usual, nil))
	check()
}

// fits is how many unikernels the machine allows by its memory, and by the descriptors of one
// process.
func (h *host) fits() int {
	h.t.Helper()
	root := h.ask(":", messages.PolicyInfo{}).(messages.SuccessPolicies).List[0]
	var files unix.Rlimit
	require.NoError(h.t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	return min(root.Policy.Memory/guest("hello").Memory, int(min(files.Max, 1<<20))/(daemonFiles+1))
}

// filesOf returns how many descriptors a process has.
func filesOf(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}

package chaos

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/inject"
	"albatross/test/netns"
	"albatross/test/programs"
)

// A host is a machine with a daemon on it: a directory and a network namespace for
// all that it has.
type host struct {
	t        *testing.T
	mode     mode
	programs string // directory of its programs
	dir      string
	space    *netns.Namespace // all of its network
	full     bool             // it has a bridge that nothing can be attached to
	port     *netns.Port
	journal  *journal
	doing    string // what is under way, for messages

	pid      int // of the daemon; 0 while none runs
	ended    <-chan unix.WaitStatus
	stopping bool // it has been asked to stop
	stopped  bool // that is how the last one ended

	keeperEnded <-chan unix.WaitStatus // of the keeper that launchKeeper has started
	keeperDead  bool
	// sure: the keeper lives as long as what is created now, so that it is known how that ends.
	sure bool

	// Of a host under siege: more of the command line, what faults its system calls meet, that
	// how unikernels have ended is not compared, and that a daemon may give up, which exits with 1.
	arguments []string
	calls     *inject.Faults
	rough     bool
	mayGiveUp bool

	acknowledged atomic.Int64 // commands, ever

	checks int // ever made
	ticks  int // lines of the ticking unikernel that have been seen
}

// bridge is that of every host that was made by hand.
const bridge = "service"

// newHost is a host without a daemon. Its directory has a short name, since those
// of sockets may not be long.
func newHost(t *testing.T, m mode) *host {
	dir, err := os.MkdirTemp("", "crash")
	require.NoError(t, err)
	h := &host{t: t, mode: m, programs: killable, dir: dir, space: netns.New(t), journal: newJournal()}
	h.space.Bridge(bridge)
	t.Cleanup(h.wipe)
	return h
}

// logVariable is the environment variable for the file to which the log of a daemon is copied when a
// test has failed.
const logVariable = "ALBATROSS_CHAOS_LOG"

// wipe removes all that is left where a test has failed.
func (h *host) wipe() {
	if h.t.Failed() {
		log, _ := os.ReadFile(h.path("log"))
		if file := os.Getenv(logVariable); file != "" && len(log) > 0 {
			_ = os.WriteFile(file, log, 0o600) // its end is told in any case
		}
		h.t.Logf("%s: the daemon says:\n%s", h.doing, log[max(0, len(log)-4000):])
	}
	h.kill()
	h.endKeepers()
	h.endNetworkProcesses()
	for _, found := range h.processes() {
		for _, p := range found {
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
	}
	h.until("no cgroup is left", func() bool {
		for _, parent := range h.cgroupParents() {
			for _, name := range h.directories(parent) {
				_ = os.Remove(filepath.Join(parent, name)) // a process that was killed may be in it still
			}
			_ = os.Remove(parent)
		}
		return len(h.cgroupParents()) == 0
	})
	require.NoError(h.t, os.RemoveAll(h.dir))
}

func (h *host) path(elem ...string) string { return filepath.Join(append([]string{h.dir}, elem...)...) }

func (h *host) socket(name string) string { return h.path("util", name+".sock") }

// cgroup is below which the daemon has its cgroups: no other has the same.
func (h *host) cgroup() string { return filepath.Base(h.dir) }

// launch starts a daemon, with something more in its environment and on its
// command line.
func (h *host) launch(environment string, arguments ...string) {
	h.t.Helper()
	log, err := os.OpenFile(h.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(h.t, err)
	defer log.Close()
	arguments = append(slices.Clone(h.arguments), arguments...)
	if h.mode == alone {
		arguments = append([]string{"--no-keeper"}, arguments...)
	}
	c := exec.Command(filepath.Join(h.programs, "albatrossd"), append([]string{
		"--tmpdir", h.dir, "--dbdir", h.path("db"), "--cgroup", h.cgroup(), "--tender", "builtin",
	}, arguments...)...)
	if h.mode == kept {
		programs.WithoutExitInfo(c)
	}
	c.Env = append(os.Environ(), environment)
	c.Stderr = log
	h.stopping = false
	if h.calls == nil {
		h.pid, h.ended = h.spawn(c)
		return
	}
	started, err := h.calls.Into(c)
	require.NoError(h.t, err)
	h.pid, h.ended = h.spawn(c)
	require.NoError(h.t, started())
}

// spawn starts a program on the host, and tells how it has ended, when it has.
func (h *host) spawn(c *exec.Cmd) (pid int, ended <-chan unix.WaitStatus) {
	h.t.Helper()
	var err error
	h.space.Do(func() { pid, ended, err = spawn(c) })
	require.NoError(h.t, err)
	return pid, ended
}

// nothing is more in the environment.
const nothing = "NOTHING="

// start starts a daemon that must live, and waits until it answers.
func (h *host) start() {
	h.t.Helper()
	h.launch(nothing)
	require.True(h.t, h.answers(), "%s: the next daemon does not start", h.doing)
}

// answers waits until the daemon answers, or has ended.
func (h *host) answers() (alive bool) {
	h.t.Helper()
	h.until("the daemon answers", func() bool {
		alive = programs.Answers(context.Background(), h.dir)
		return alive || h.died()
	})
	return alive
}

// died tells whether the daemon has been killed. It must not end otherwise, unless
// it was asked to.
func (h *host) died() bool {
	h.t.Helper()
	select {
	case status := <-h.ended:
		h.pid, h.stopped = 0, ordinary(status)
		killed := status.Signaled() && status.Signal() == unix.SIGKILL
		gaveUp := h.mayGiveUp && status.Exited() && status.ExitStatus() == 1
		require.True(h.t, killed || gaveUp || h.stopping && ordinary(status), "%s: the daemon ended: %#x", h.doing, status)
	default:
	}
	return h.pid == 0
}

// kill ends the daemon, if one runs.
func (h *host) kill() {
	if h.pid != 0 {
		_ = unix.Kill(h.pid, unix.SIGKILL)
		<-h.ended
		h.pid = 0
	}
}

// stop ends the daemon as a service manager does. It may just have been killed at a failpoint.
func (h *host) stop() {
	h.t.Helper()
	h.stopping = true
	if err := unix.Kill(h.pid, unix.SIGTERM); err != unix.ESRCH {
		require.NoError(h.t, err)
	}
	h.until("the daemon stops", h.died)
}

func ordinary(status unix.WaitStatus) bool { return status.Exited() && status.ExitStatus() == 0 }

// until asks again and again for what nobody tells.
func (h *host) until(what string, holds func() bool) {
	h.t.Helper()
	require.True(h.t, within(patience, holds), "%s: %s: it does not happen", h.doing, what)
}

// within tells whether something holds in time.
func within(limit time.Duration, holds func() bool) bool {
	deadline := time.After(limit)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			return holds()
		}
	}
	return true
}

// The unikernels that nothing may disturb are all on one path.
const (
	quiet   = "stay:quiet"
	ticking = "stay:ticking"
	echoing = "stay:echoing"
)

func stays(name messages.Name) bool { return strings.HasPrefix(name.String(), "stay:") }

// settleIn makes the host one with unikernels that nothing may disturb.
func (h *host) settleIn() {
	h.port = h.space.Port(bridge)
	h.start()
	c := &caller{h: h}
	c.create(quiet, run("hello", "--quiet"))
	c.create(ticking, run("hello"))
	echo := run("net").networked("service")
	echo.Networks[0].MAC = messages.Some(echoMAC)
	c.create(echoing, echo)
	h.check()
}

// end leaves the host as if it had never been.
func (h *host) end() {
	h.t.Helper()
	h.doing += ", the end"
	h.clear(func(messages.Name) bool { return true })
	h.check()
	require.Empty(h.t, h.processes())
	require.Empty(h.t, h.networkProcesses())
	h.kill()
	h.endKeepers()
}

// restore destroys and removes all but what nothing may disturb.
func (h *host) restore() {
	h.t.Helper()
	h.clear(func(name messages.Name) bool { return !stays(name) })
}

// clear destroys and removes what is chosen, unikernels before the devices and
// networks that they use.
func (h *host) clear(chosen func(messages.Name) bool) {
	h.t.Helper()
	for _, kind := range []kind{unikernel, device, policy, network} {
		var working sync.WaitGroup
		for _, name := range h.journal.there(kind) {
			if chosen(name) {
				working.Go(func() { (&caller{h: h}).remove(thing{kind, name}) })
			}
		}
		working.Wait()
	}
}

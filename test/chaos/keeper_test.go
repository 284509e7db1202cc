package chaos

import (
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/keeper/wire"
	"albatross/test/programs"
)

// launchKeeper starts a keeper as a service manager does, with something more in its
// environment, and waits until it listens, or has died.
func (h *host) launchKeeper(environment string) {
	h.t.Helper()
	told, tell, err := os.Pipe()
	require.NoError(h.t, err)
	defer told.Close()
	c := exec.Command(filepath.Join(h.programs, "albatross-keeper"), "--dbdir="+h.path("db"), "--ready=3")
	programs.WithoutExitInfo(c)
	c.Env = append(os.Environ(), environment)
	c.ExtraFiles = []*os.File{tell}
	require.NoError(h.t, os.MkdirAll(h.path("db"), 0o700))
	_, h.keeperEnded = h.spawn(c)
	require.NoError(h.t, tell.Close())
	text, err := io.ReadAll(told)
	require.NoError(h.t, err)
	if string(text) != "+" {
		require.Empty(h.t, text, "%s: the keeper does not start", h.doing)
		h.until("the keeper that does not listen has died", h.keeperDied)
	}
}

// keeperDied tells whether the keeper has been killed that launchKeeper has started.
func (h *host) keeperDied() bool {
	h.t.Helper()
	if !h.keeperDead {
		select {
		case status := <-h.keeperEnded:
			killed := status.Signaled() && status.Signal() == unix.SIGKILL
			require.True(h.t, killed, "%s: the keeper ended: %#x", h.doing, status)
			h.keeperDead = true
		default:
		}
	}
	return h.keeperDead
}

func (h *host) keepers() []int { return programs.Keepers(h.path("db")) }

// signalKeepers sends a signal to all keepers of this host.
func (h *host) signalKeepers(signal unix.Signal) {
	for _, pid := range h.keepers() {
		_ = unix.Kill(pid, signal) // it may have ended
	}
}

// endKeepers kills all keepers, of which a daemon that runs would start more.
func (h *host) endKeepers() {
	h.until("the keeper ends", func() bool {
		h.signalKeepers(unix.SIGKILL)
		return len(h.keepers()) == 0
	})
}

// describeKeeper ends the keeper, which tells what its goroutines do.
func (h *host) describeKeeper() string {
	h.signalKeepers(unix.SIGQUIT)
	within(patience, func() bool { return len(h.keepers()) == 0 })
	text, err := os.ReadFile(h.path("db", wire.Dir, wire.Crash))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8000):])
}

// stoppedWithin is how long a keeper is stopped at most.
const stoppedWithin = 50 * time.Millisecond

// harmKeeper kills the keeper, or stops it for a while, or leaves it alone.
func (h *host) harmKeeper(random *rand.Rand) {
	switch random.IntN(3) {
	case 0:
		h.signalKeepers(unix.SIGKILL)
		sum.add(h.mode, keeperKills, 1)
	case 1:
		h.signalKeepers(unix.SIGSTOP)
		<-time.After(upTo(random, stoppedWithin))
		h.signalKeepers(unix.SIGCONT)
		sum.add(h.mode, keeperStops, 1)
	}
}

// TestPointsOfTheKeeper are in the keeper, and not in the daemon.
func TestPointsOfTheKeeper(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(killable, "albatrossd"))
	require.NoError(t, err)
	for _, name := range named(t) {
		if ofKeeper(name) {
			require.NotContains(t, string(code), name)
		}
	}
}

// upgrade lets a daemon of another version take over, which makes the keeper one, too.
func (c *caller) upgrade() {
	if c.h.mode == alone || c.dead {
		return
	}
	c.h.kill()
	c.h.programs = newer
	c.h.start()
	c.h.programs = killable
}

// historySize is how much of a console is on disk.
func (h *host) historySize(name string) int64 {
	info, err := os.Stat(h.path("db", "console", name))
	require.NoError(h.t, err)
	return info.Size()
}

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// quick is how long the daemon may take to stop on a busy machine, where it has nothing to wait
// for. A daemon that waits for its clients gives up after 40 s.
const quick = 20 * time.Second

// TestStop: a daemon that is asked to stop does so at once, whichever clients are connected, and
// the next one takes over all unikernels.
func TestStop(t *testing.T) {
	h := newHost(t)
	h.create("one", guest("hello"))
	h.create("a:two", guest("hello", "--quiet"))
	before, listed := map[string][]int{"one": {h.pid("one")}, "two": {h.pid("two")}}, h.infos(":")
	idle, follower := h.dial("vmmd"), h.subscribe("one", 0)

	h.untilStored()
	begun := time.Now()
	require.NoError(t, h.stop())
	require.Less(t, time.Since(begun), quick)
	require.Empty(t, h.files("util"))
	require.Equal(t, before, h.processes())
	requireEnds(t, idle)
	requireEnds(t, follower.conn)

	h.start()
	require.Equal(t, listed, h.infos(":"))
	require.Equal(t, before, h.processes())
	require.Contains(t, h.subscribe("one", 0).line(), "tick")
}

// TestAnAdoptedOneEndsByTheSameRules: a unikernel that is killed from outside is not started again,
// whichever daemon has started it. On an old kernel, only a keeper can distinguish that from a
// failure.
func TestAnAdoptedOneEndsByTheSameRules(t *testing.T) {
	seen := []messages.Exit{{Known: true, Signal: 9}}
	perhaps := append(seen, messages.Exit{}) // another process may reap it first
	for title, tc := range map[string]struct {
		oldKernel, adopted bool
		args               []string
		exits              []messages.Exit
	}{
		"its own":                        {false, false, nil, seen},
		"its own, on an old kernel":      {true, false, nil, seen},
		"adopted":                        {false, true, nil, seen},
		"adopted, on an old kernel":      {true, true, nil, seen},
		"no keeper":                      {false, false, []string{noKeeper}, seen},
		"no keeper, adopted":             {false, true, []string{noKeeper}, seen},
		"no keeper, adopted, old kernel": {true, true, []string{noKeeper}, perhaps},
	} {
		t.Run(title, func(t *testing.T) {
			h := newHostOn(t, tc.oldKernel, tc.args...)
			c := guest("hello", "--quiet")
			c.Fail = messages.FailBehaviour{Restart: true}
			h.create("one", c)
			pid := h.pid("one")
			if tc.adopted {
				h.untilStored()
				h.kill()
				h.start()
			}
			require.NoError(t, unix.Kill(pid, unix.SIGKILL))
			h.until("its end is listed", func() bool { return len(h.ends("one")) == 1 && h.ends("one")[0].End != (messages.End{}) })
			exit := h.exit("one")
			require.Contains(t, tc.exits, exit)
			adoptedAlone := tc.adopted && len(tc.args) > 0
			require.Equal(t, !adoptedAlone, h.ends("one")[0].End.Usage.OK, "its parent knows what it has used")
			h.until("it comes back, or is gone", func() bool { return len(h.infos("one")) == 1 == !exit.Known })
		})
	}
}

// TestTwoDaemons: a second daemon refuses to start, and changes nothing.
func TestTwoDaemons(t *testing.T) {
	h := newHost(t)
	h.create("one", guest("hello", "--quiet"))
	before, pid, files := h.infos(":"), h.pid("one"), h.files("util")
	other := emptyHost(t)
	for name, args := range map[string][]string{
		"same directories": nil,
		"another --tmpdir": {"--tmpdir", other.dir},
	} {
		require.Contains(t, h.refused(args...), "in use by another albatrossd", name)
	}
	require.Contains(t, h.refused("--dbdir", other.path("db")), "another daemon listens there")
	require.Equal(t, before, h.infos(":"))
	require.Equal(t, pid, h.pid("one"))
	require.Equal(t, files, h.files("util"))
}

// refused starts a daemon that must refuse to run, and returns what it prints.
func (h *host) refused(args ...string) string {
	h.t.Helper()
	c := h.command(append(args, "--cgroup", "")...) // without cgroups, no line is about them
	var says strings.Builder
	c.Stderr = &says
	require.NoError(h.t, c.Start())
	kill := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	require.ErrorAs(h.t, c.Wait(), &exit)
	require.Equal(h.t, 1, exit.ExitCode(), says.String())
	require.Regexp(h.t, `^albatrossd: cannot .*\n$`, says.String(), "one line that says what is wrong")
	return says.String()
}

// TestRefusals: the daemon prints in one line why it cannot run.
func TestRefusals(t *testing.T) {
	h := emptyHost(t)
	file := h.path("file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Contains(t, h.refused("--dbdir", filepath.Join(file, "db")), "not a directory")
	require.Contains(t, h.refused("--tmpdir", filepath.Join(file, "run")), "not a directory")
	require.Contains(t, h.refused("--tmpdir", h.path(strings.Repeat("long", 30))), "use a shorter directory")
	require.Contains(t, h.refused("--tender", "none"), "--tender")
	if os.Geteuid() == 0 {
		t.Log("root may write everywhere: whether a directory that is not writable is refused is not tested")
		return
	}
	require.NoError(t, os.Mkdir(h.path("mine"), 0o500))
	require.Contains(t, h.refused("--dbdir", h.path("mine", "db")), "permission denied")
}

// TestRelativeDirectories: a tender, which runs elsewhere, finds its image in a directory whose
// path is relative to where the daemon was started.
func TestRelativeDirectories(t *testing.T) {
	h := emptyHost(t)
	here, err := os.Getwd()
	require.NoError(t, err)
	dir, err := filepath.Rel(here, h.dir)
	require.NoError(t, err)
	h.args = []string{"--tmpdir", dir, "--dbdir", filepath.Join(dir, "db")}
	h.start()
	h.create("hello", guest("hello", "--quiet"))
	require.Equal(t, "hello from albatross: --name=hello --quiet", h.subscribe("hello", 1).line())
}

// Package e2e tests the daemon as its clients and its host see it: the program
// itself, its sockets, real unikernels, and kill -9.
//
// Each test has a daemon of its own in a directory of its own. When the test
// ends, nothing may be left of it: no process, no socket, no FIFO, no image.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/guests"
	"albatross/test/netns"
	"albatross/test/programs"
)

// patience bounds what must happen.
const patience = 30 * time.Second

// pause is the interval of polls.
const pause = 2 * time.Millisecond

// bin is the directory of the programs.
var bin string

func TestMain(m *testing.M) {
	programs.MayBecomeProgram()
	asNativeTender()
	netns.Enter()
	var err error
	if bin, err = os.MkdirTemp("", "e2e-bin"); err != nil {
		panic(err)
	}
	if err := os.Chmod(bin, 0o755); err != nil { // daemons of other users run them
		panic(err)
	}
	if err := programs.Build(bin, "albatrossd", "albatross-tender", "albatross-keeper", "albatross-network", "albatross-influx"); err != nil {
		panic(err)
	}
	if err := adoptOrphans(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(bin)
		os.Exit(code)
	}))
}

// A host is a machine with a daemon on it: a directory for all that it has.
type host struct {
	t    *testing.T
	dir  string
	bin  string   // the directory of its programs
	args []string // more arguments of the daemon

	oldKernel bool // it does not reveal how a process has ended
	fewFiles  bool // the daemon is started with a low soft limit of descriptors, as usual

	inside  string // directory of the cgroup of the daemon, if any
	user    int    // as whom the daemon runs; 0: as the tests do
	without string // capabilities that the daemon does not have, as setpriv(1) names them

	daemon *exec.Cmd  // nil while none runs
	ended  chan error // gets how it has ended
}

// newHost returns a host whose daemon runs.
func newHost(t *testing.T) *host {
	h := emptyHost(t)
	h.start()
	return h
}

// emptyHost returns a host without a daemon. Its directory has a short name, since the paths of
// sockets may not be long, and a space in it, as an operator's may.
func emptyHost(t *testing.T) *host {
	dir, err := os.MkdirTemp("", "e2e ")
	require.NoError(t, err)
	h := &host{t: t, dir: dir, bin: bin}
	t.Cleanup(h.end)
	return h
}

// end checks that nothing is left. If the test has failed, end removes what is left.
func (h *host) end() {
	defer os.RemoveAll(h.dir)
	defer h.removeCgroups()
	defer h.wipe()
	if h.t.Failed() {
		h.t.Logf("the daemon says:\n%s", lastBytes(h.log(), 4000))
		return
	}
	if h.daemon == nil {
		return
	}
	h.destroyAll()
	require.NoError(h.t, h.stop())
	require.Empty(h.t, h.processes(), "processes that are left")
	h.until("the keeper ends, which keeps nothing", func() bool { return h.keeper() == 0 })
	for _, dir := range []string{"util", "fifo", "db/images"} {
		require.Empty(h.t, h.files(dir), "files that are left in %s", dir)
	}
	require.Empty(h.t, h.cgroupParents(), "cgroups that are left")
	require.NotContains(h.t, strings.Join(h.files("db/block"), " "), "tmp_", "files that are left in db/block")
	require.NotContains(h.t, h.log(), "nternal error", "the log of the daemon")
	require.NotContains(h.t, h.log(), "DATA RACE", "the log of the daemon")
}

// destroyAll destroys all unikernels at the same time. One may have ended by itself meanwhile.
func (h *host) destroyAll() {
	fine := []messages.Payload{messages.SuccessText{Text: "destroyed unikernel"}, messages.Failure{Text: "destroy: not found"}}
	var destroying sync.WaitGroup
	for _, i := range h.infos(":") {
		destroying.Go(func() {
			answer, err := h.tryAsk(i.Name.String(), messages.UnikernelDestroy{})
			if err != nil || !slices.Contains(fine, answer) {
				h.t.Errorf("destroy %s: %v %v", i.Name, answer, err)
			}
		})
	}
	destroying.Wait()
}

// wipe ends all processes of this host.
func (h *host) wipe() {
	h.kill()
	h.killKeeper()
	for _, pids := range h.processes() {
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

func (h *host) path(elem ...string) string { return filepath.Join(append([]string{h.dir}, elem...)...) }

func (h *host) files(dir string) (names []string) {
	entries, err := os.ReadDir(h.path(dir))
	require.NoError(h.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (h *host) log() string {
	text, err := os.ReadFile(h.path("log"))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(h.t, err)
	}
	return string(text)
}

func lastBytes(s string, n int) string { return s[max(0, len(s)-n):] }

// softFiles is a low soft limit of descriptors.
const softFiles = 128

// command returns the daemon, whose output is appended to the log.
func (h *host) command(args ...string) *exec.Cmd {
	h.t.Helper()
	log, err := os.OpenFile(h.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = log.Close() })
	all := append([]string{"--tmpdir", h.dir, "--dbdir", h.path("db"), "--cgroup", h.cgroup(), "--tender", "builtin"}, args...)
	c := exec.Command(filepath.Join(h.bin, "albatrossd"), all...)
	if h.inside != "" {
		enter := []string{"-c", `echo 0 > "$0/cgroup.procs" && exec "$@"`, h.inside}
		c = exec.Command("/bin/sh", append(enter, c.Args...)...)
	}
	if h.fewFiles {
		c = exec.Command("/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit -S -n %d && exec "$0" "$@"`, softFiles)}, c.Args...)...)
	}
	if h.without != "" {
		c = exec.Command("setpriv", append([]string{"--bounding-set", h.without}, c.Args...)...)
	}
	if h.oldKernel {
		programs.WithoutExitInfo(c)
	}
	if h.user != 0 {
		require.NoError(h.t, os.Chown(h.dir, h.user, h.user))
		user := strconv.Itoa(h.user)
		c = exec.Command("setpriv", append([]string{"--reuid", user, "--regid", user, "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"}, c.Args...)...)
	}
	c.Stderr = log
	return c
}

// start starts a daemon, and waits until it answers.
func (h *host) start() {
	h.t.Helper()
	c := h.command(h.args...)
	require.NoError(h.t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	h.daemon, h.ended = c, ended
	h.until("the daemon answers", func() bool {
		select {
		case err := <-ended:
			h.daemon = nil
			require.FailNow(h.t, "the daemon has ended", "%v: %s", err, lastBytes(h.log(), 1000))
		default:
		}
		return h.answers()
	})
}

// answers reports whether all sockets exist. The daemon opens all of them at once, before it
// answers the first command.
func (h *host) answers() bool {
	for _, s := range sockets {
		c, err := client.Dial(context.Background(), h.socket(s))
		if err != nil {
			return false
		}
		if s == "vmmd" {
			_, err = c.Ask(context.Background(), messages.Name{}, messages.PolicyInfo{})
		}
		_ = c.Close()
		if err != nil {
			return false
		}
	}
	return true
}

var sockets = []string{"vmmd", "console", "stat"}

func (h *host) socket(name string) string { return h.path("util", name+".sock") }

// stop ends the daemon as a service manager does.
func (h *host) stop() error {
	h.t.Helper()
	require.NoError(h.t, h.daemon.Process.Signal(unix.SIGTERM))
	select {
	case err := <-h.ended:
		h.daemon = nil
		return err
	case <-time.After(patience):
		require.FailNow(h.t, "the daemon does not stop")
	}
	panic("unreachable")
}

// kill ends the daemon as a crash does.
func (h *host) kill() {
	if h.daemon != nil {
		_ = h.daemon.Process.Kill()
		<-h.ended
		h.daemon = nil
	}
}

// until polls for a state that sends no notice.
func (h *host) until(what string, holds func() bool) {
	h.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(h.t, what+": it does not happen")
		}
	}
}

// ask gives one command on a connection of its own, and returns the answer.
func (h *host) ask(name string, command messages.Command) messages.Payload {
	h.t.Helper()
	answer, err := h.tryAsk(name, command)
	require.NoError(h.t, err)
	return answer
}

// tryAsk is ask for a test in which the daemon may be killed meanwhile.
func (h *host) tryAsk(name string, command messages.Command) (messages.Payload, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := messages.ParseName(name)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, h.socket("vmmd"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	answer, err := c.Ask(ctx, n, command)
	var refusal *client.Refusal
	if errors.As(err, &refusal) {
		requirePublic(h.t, messages.Failure{Text: messages.Public(refusal.Text)})
		return messages.Failure{Text: messages.Public(refusal.Text)}, nil
	}
	requirePublic(h.t, answer)
	return answer, err
}

func (h *host) infos(name string) []messages.NamedInfo {
	h.t.Helper()
	return h.ask(name, messages.UnikernelInfo{Form: 6}).(messages.SuccessInfos).List
}

// guest returns a configuration that runs one of our unikernels.
func guest(program string, argv ...string) messages.Config {
	return messages.Config{
		Image: guests.Image(program, "spt"),
		Arguments: messages.Arguments{
			Memory: 16, CPUIDs: []int{0}, CPUs: 1, AddName: true, Argv: messages.Some(append([]string{}, argv...)),
		},
	}
}

func create(c messages.Config) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 5, Config: c}
}

func (h *host) create(name string, c messages.Config) {
	h.t.Helper()
	require.Equal(h.t, messages.SuccessText{Text: "created unikernel"}, h.ask(name, create(c)))
}

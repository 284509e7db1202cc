package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/programs"
)

// watchdog is how long the systemd of these tests waits for a message.
const watchdog = time.Second

// A systemd is a host that listens on sockets before the daemon runs. The daemon gets them, and
// sends how it is.
type systemd struct {
	*host
	sockets []*os.File
	paths   []string
	names   []string
	notify  *net.UnixConn
}

// newSystemd returns a host without a daemon. At the end of the test it is as any other host, and
// an operator's command has started its daemon.
func newSystemd(t *testing.T) *systemd {
	s := &systemd{host: emptyHost(t)}
	var err error
	s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(s.disable)
	require.NoError(t, os.Mkdir(s.path("util"), 0o750))
	return s
}

func (s *systemd) disable() {
	defer s.notify.Close()
	if !s.t.Failed() && s.daemon != nil {
		require.NoError(s.t, s.stop())
	}
	for i, path := range s.paths {
		_ = s.sockets[i].Close()
		require.NoError(s.t, os.Remove(path))
	}
	if !s.t.Failed() {
		s.start()
	}
}

// listen opens a socket, and gives it a name.
func (s *systemd) listen(socket, name string) {
	s.t.Helper()
	path := s.socket(socket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(s.t, err)
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	require.NoError(s.t, err)
	s.sockets, s.paths, s.names = append(s.sockets, f), append(s.paths, path), append(s.names, name)
}

// listenAsUnits opens the sockets of our units.
func (s *systemd) listenAsUnits() {
	s.t.Helper()
	units, err := filepath.Glob("../../packaging/systemd/albatrossd-*.socket")
	require.NoError(s.t, err)
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		require.NoError(s.t, err)
		file := regexp.MustCompile(`(?m)^ListenStream=/run/albatross/util/(.*)\.sock$`).FindSubmatch(text)
		name := regexp.MustCompile(`(?m)^FileDescriptorName=(.*)$`).FindSubmatch(text)
		require.True(s.t, len(file) == 2 && len(name) == 2, unit)
		s.listen(string(file[1]), string(name[1]))
	}
}

// command returns the daemon as systemd starts it: the variables have its own pid in them, and its
// log goes to the journal.
func (s *systemd) command(args ...string) *exec.Cmd {
	s.t.Helper()
	c := s.host.command(args...)
	var log unix.Stat_t
	require.NoError(s.t, unix.Stat(s.path("log"), &log))
	c.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" "$@"`, c.Path}, c.Args[1:]...)
	c.Path = "/bin/sh"
	c.ExtraFiles = s.sockets
	c.Env = append(os.Environ(),
		fmt.Sprintf("LISTEN_FDS=%d", len(s.sockets)), "LISTEN_FDNAMES="+strings.Join(s.names, ":"),
		"NOTIFY_SOCKET="+s.path("notify"), fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()),
		fmt.Sprintf("JOURNAL_STREAM=%d:%d", log.Dev, log.Ino))
	return c
}

// boot starts the daemon.
func (s *systemd) boot() { s.launch(s.command()) }

// launch starts a daemon, and does not wait for anything.
func (h *host) launch(c *exec.Cmd) {
	h.t.Helper()
	require.NoError(h.t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	h.daemon, h.ended = c, ended
}

// hears waits for the next message of the daemon.
func (s *systemd) hears() string {
	s.t.Helper()
	text, err := s.hearsWithin(patience)
	require.NoError(s.t, err)
	return text
}

func (s *systemd) hearsWithin(limit time.Duration) (string, error) {
	s.t.Helper()
	require.NoError(s.t, s.notify.SetReadDeadline(time.Now().Add(limit)))
	b := make([]byte, 1000)
	n, err := s.notify.Read(b)
	return string(b[:n]), err
}

// requireHears waits until the daemon sends a message.
func (s *systemd) requireHears(text string) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if s.hears() == text {
			return
		}
	}
	require.FailNow(s.t, "the daemon does not send: "+text)
}

// The messages of the daemon.
const stops = "STOPPING=1\nSTATUS=Stopping"

func ready(unikernels int) string {
	return fmt.Sprintf("READY=1\nSTATUS=Unikernels that run: %d", unikernels)
}

func alive(unikernels int) string {
	return fmt.Sprintf("WATCHDOG=1\nSTATUS=Unikernels that run: %d", unikernels)
}

// TestSocketActivation: every client that connects is served, whether or not a daemon runs at that
// moment, and no process but the daemon gets the sockets.
func TestSocketActivation(t *testing.T) {
	s := newSystemd(t)
	s.listenAsUnits()
	require.ElementsMatch(t, allSockets, s.files("util"))
	before := s.inodes()
	early := s.dial("vmmd")
	say(t, early, ":", messages.PolicyInfo{})
	f := &follower{t, s.dial("console")}
	say(t, f.conn, "one", messages.ConsoleSubscribe{Count: messages.Some(0)})

	s.boot()
	require.IsType(t, messages.SuccessPolicies{}, hear(t, early).Payload)
	require.IsType(t, messages.SuccessText{}, hear(t, f.conn).Payload)
	require.Equal(t, before, s.inodes(), "the daemon has made none itself")
	s.create("one", guest("hello"))
	f.line() // from here on the process is the unikernel
	pid := s.pid("one")
	for fd, file := range descriptors(t, pid) {
		require.NotContains(t, file, "socket:", "descriptor %s of the unikernel", fd)
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	require.NoError(t, err)
	require.Empty(t, environment)

	s.untilStored()
	require.NoError(t, s.stop())
	require.Equal(t, before, s.inodes(), "the sockets are still there")
	late := s.dial("vmmd")
	say(t, late, ":", messages.UnikernelInfo{Form: 6})
	s.boot()
	require.Len(t, hear(t, late).Payload.(messages.SuccessInfos).List, 1)
	require.Equal(t, pid, s.pid("one"))
}

var allSockets = []string{"vmmd.sock", "console.sock", "stat.sock", "control.sock"}

// inodes returns those of the sockets.
func (s *systemd) inodes() map[string]uint64 {
	s.t.Helper()
	inodes := map[string]uint64{}
	for _, name := range s.files("util") {
		var stat unix.Stat_t
		require.NoError(s.t, unix.Stat(s.path("util", name), &stat))
		inodes[name] = stat.Ino
	}
	return inodes
}

// TestSomeSockets: the daemon makes the sockets that do not exist, and removes them.
func TestSomeSockets(t *testing.T) {
	s := newSystemd(t)
	s.listen("vmmd", "albatrossd-vmmd.socket") // the unit has no FileDescriptorName=
	before := s.inodes()
	s.boot()
	require.Equal(t, ready(0), s.hears())
	require.True(t, s.answers())
	require.ElementsMatch(t, allSockets, s.files("util"))
	require.NoError(t, s.stop())
	require.Equal(t, before, s.inodes())
}

// TestSocketsThatCannotBe: a daemon logs what is wrong with its unit, with the priority of an
// error.
func TestSocketsThatCannotBe(t *testing.T) {
	s := newSystemd(t)
	s.listen("other", "albatrossd-other.socket")
	var exit *exec.ExitError
	require.ErrorAs(t, s.command("--cgroup", "").Run(), &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Equal(t, "<3>albatrossd: cannot use socket albatrossd-other.socket at "+s.socket("other")+
		", which the service manager has opened: only console, control, stat, vmmd are known\n", s.log())
}

// TestNativeUnits: the daemon starts by the command lines of native units, and with all options of
// a native albatrossd.
func TestNativeUnits(t *testing.T) {
	database, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer database.Close()
	for name, args := range map[string][]string{
		"Debian": {"--systemd-socket-activation"},
		"NixOS":  {"--systemd-socket-activation", "-vv"},
		"all": {"--systemd-socket-activation", "--no-drop-path", "--influx", database.Addr().String(), "--allow-zvol-for=a:b",
			"--color=always", "--verbosity=warning", "-v"},
		"quiet": {"--systemd-socket-activation", "--color", "auto", "-q"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystemd(t)
			s.listen("vmmd", "albatross_daemon.socket")
			s.launch(s.command(args...))
			require.Equal(t, ready(0), s.hears())
			require.True(t, s.answers())
			switch log := s.log(); name {
			case "all":
				require.Contains(t, log, "--allow-zvol-for has no effect: block devices are files")
				require.NotContains(t, log, "level=INFO")
			case "quiet":
				require.Empty(t, log)
			}
		})
	}
}

// TestNoSocketWhereOneIsPromised is an error, as natively.
func TestNoSocketWhereOneIsPromised(t *testing.T) {
	s := newSystemd(t)
	var exit *exec.ExitError
	require.ErrorAs(t, s.command("--systemd-socket-activation", "--cgroup", "").Run(), &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, s.log(), "cannot use --systemd-socket-activation: systemd has not opened a socket")
}

// TestReady: a daemon sends that it is ready when it has taken over what runs, and sends when it
// begins to stop.
func TestReady(t *testing.T) {
	s := newSystemd(t)
	s.start()
	for _, name := range []string{"one", "two", "three"} {
		s.create(name, guest("hello", "--quiet"))
	}
	s.untilStored()
	s.kill()
	s.boot()
	require.Equal(t, ready(3), s.hears())
	require.Len(t, s.infos(":"), 3)
	require.NoError(t, s.stop())
	s.requireHears(stops)
	_, err := s.hearsWithin(0)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it says nothing more")
	require.Contains(t, s.log(), "<6>level=INFO msg=")
	require.NotContains(t, s.log(), ">time=", "the journal has its own time of each line")
}

// untilStored waits until all is on disk that the daemon stores without an answer that waits for
// it: a change that is stored later is on disk later.
func (h *host) untilStored() {
	h.t.Helper()
	h.requireText("added policy", "stored:", messages.PolicyAdd{
		Policy: messages.Policy{Unikernels: 1, CPUIDs: []int{0}, Memory: 32},
	})
	h.requireText("removed policy", "stored:", messages.PolicyRemove{})
}

// TestWatchdog: a daemon sends that it works as long as it does. One that hangs is ended, and the
// next one takes over.
func TestWatchdog(t *testing.T) {
	s := newSystemd(t)
	s.boot()
	require.Equal(t, ready(0), s.hears())
	s.create("one", guest("hello", "--quiet"))
	pid := s.pid("one")
	s.requireHears(alive(1))
	s.requireHears(alive(1))

	hangs := s.daemon.Process.Pid
	require.NoError(t, unix.Kill(hangs, unix.SIGSTOP))
	s.until("the daemon hangs", func() bool { return statusOf(t, hangs, "State") == "T (stopped)" })
	for err := error(nil); err == nil; { // messages that it has sent before
		_, err = s.hearsWithin(watchdog / 100)
	}
	_, err := s.hearsWithin(watchdog)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it sends nothing")
	require.NoError(t, unix.Kill(hangs, unix.SIGABRT))
	require.NoError(t, unix.Kill(hangs, unix.SIGCONT))
	require.Error(t, <-s.ended)
	s.daemon = nil
	require.NotContains(t, s.log(), "goroutine ")
	require.Regexp(t, `(?m)^<3>.*SIGABRT.* file="`+regexp.QuoteMeta(s.path("aborted.txt"))+`"$`, s.log())
	trace, err := os.ReadFile(s.path("aborted.txt"))
	require.NoError(t, err)
	require.Contains(t, string(trace), "goroutine ", "what it was doing")

	s.boot()
	s.requireHears(ready(1))
	require.Equal(t, pid, s.pid("one"))
}

// TestAKeeperOfTheServiceManager says when it is ready. If it ends, the daemon waits for the
// service manager to start it again, and does so itself if that takes too long.
func TestAKeeperOfTheServiceManager(t *testing.T) {
	s := newSystemd(t)
	require.NoError(t, os.Mkdir(s.path("db"), 0o700))
	c := exec.Command(filepath.Join(s.bin, "albatross-keeper"), "--dbdir="+s.path("db"))
	c.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.path("notify"))
	require.NoError(t, c.Start())
	t.Cleanup(func() { _, _ = c.Process.Kill(), c.Wait() })
	require.Equal(t, "READY=1", s.hears())
	s.start()
	s.requireLogged(fmt.Sprintf(`msg="albatrossd starts" .* keeper=%d`, c.Process.Pid))
	s.create("one", guest("hello", "--quiet"))
	one := s.pid("one")
	require.NoError(t, s.stop())
	s.start()
	require.Equal(t, []int{c.Process.Pid}, programs.Keepers(s.path("db")), "it goes on beside the next daemon")

	s.killKeeper()
	s.requireLogged(`msg="Waiting for the service manager to start the keeper again" for=5s`)
	s.until("the daemon starts one", func() bool { return s.keeper() != 0 })
	require.Equal(t, one, s.pid("one"))
}

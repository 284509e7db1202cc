package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	guestos "albatross/runtime/guest"
	"albatross/runtime/history"
	client "albatross/runtime/keeper"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/proc"
	"albatross/runtime/seqpacket"
	"albatross/runtime/tender/launcher"
)

func TestHowAProcessEndsIsReported(t *testing.T) {
	w := newWorld(t)
	for script, want := range map[string]messages.Exit{
		"exit 0":        {Known: true},
		"exit 64":       {Known: true, Code: 64},
		"exit 255":      {Known: true, Code: 255},
		"kill -SEGV $$": {Known: true, Signal: int(unix.SIGSEGV)},
		"kill -KILL $$": {Known: true, Signal: int(unix.SIGKILL)},
		"kill -TERM $$": {Known: true, Signal: int(unix.SIGTERM)},
		"while :; do x=1; [ $((n=n+1)) -gt 100000 ] && exit 7; done": {Known: true, Code: 7},
		"x=$(head -c 33554432 /dev/zero | tr '\\0' x); exit 8":       {Known: true, Code: 8},
	} {
		before := time.Now().UnixMilli()
		g := w.shell("a", script)
		e := w.ended(g.Process)
		require.Equal(t, want, e.End.Exit, script)
		require.Equal(t, ":a", e.Name)
		require.GreaterOrEqual(t, e.End.AtMillis, before)
		require.Zero(t, e.End.FoundMillis)
		require.True(t, e.End.Usage().OK)
		switch want.Code {
		case 7:
			require.Positive(t, e.End.UserMicros)
		case 8:
			require.GreaterOrEqual(t, e.End.MaxMemory, int64(32<<10))
		}
		require.NoError(t, w.client.Forget(t.Context(), g.Process))
		g.Close()
	}
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	require.Empty(t, w.journal())
}

// TestAProcessGetsWhatItShouldAndNoMore: the descriptors of a tender are its console, and
// nothing of the keeper.
func TestAProcessGetsWhatItShouldAndNoMore(t *testing.T) {
	w := newWorld(t)
	other := w.shell("other", "exec sleep 60")
	defer other.Close()
	g := w.shell("a", `ls -l /proc/self/fd | sed 's/.* \([0-9]* ->\)/\1/'; pwd; env; read -r stat < /proc/$$/stat; echo $$ $stat; cat /proc/self/oom_score_adj; exit`)
	defer g.Close()
	w.ended(g.Process)
	text := drained(t, g.Console)
	require.Contains(t, text, "0 -> /dev/null\n")
	require.Contains(t, text, "1 -> pipe:[")
	require.NotContains(t, text, " 4 -> ")
	require.NotContains(t, text, "socket:")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Contains(t, lines, "/")
	fields := strings.Fields(lines[len(lines)-2])
	require.Equal(t, fields[0], fields[6], "session")
	before, err := os.ReadFile("/proc/self/oom_score_adj")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(before)), lines[len(lines)-1], "it is as willing to be ended as this test")
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", w.keeper))
	require.NoError(t, err)
	if os.WriteFile("/proc/self/oom_score_adj", []byte(oomSpared), 0) == nil { // who may do that here
		require.NoError(t, os.WriteFile("/proc/self/oom_score_adj", before, 0))
		require.Equal(t, oomSpared+"\n", string(score))
	}
}

// TestAProcessGetsWhatItsDaemonPassesOn, in that order, as many as there can be, also by another
// build; and the keeper keeps none of them.
func TestAProcessGetsWhatItsDaemonPassesOn(t *testing.T) {
	w := newWorld(t)
	for build := range builds {
		require.NoError(t, w.client.Upgrade(w.ctx(), builds[build]))
		for _, count := range []int{1, 2, wire.MaxPassed} {
			o := orderOf("a", "/bin/sh", "-c", "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* -> socket.*\\)/\\1/p'")
			o.Argv = slices.Insert(o.Argv, 2, fmt.Sprint("--pass=", count))
			want := map[string]bool{}
			before := descriptorsOf(t, w.keeper)
			for i := range count {
				fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
				require.NoError(t, err)
				f := os.NewFile(uintptr(fd), "socket")
				defer func() { _ = f.Close() }()
				is, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
				require.NoError(t, err)
				o.Files, want[fmt.Sprintf("%d -> %s", launcher.Passed+i, is)] = append(o.Files, f), true
			}
			g, err := start(w.ctx(), w.client, o)
			require.NoError(t, err)
			require.Equal(t, before+2, descriptorsOf(t, w.keeper), "pidfd and console")
			g.open(t)
			w.ended(g.Process)
			got := map[string]bool{}
			for line := range strings.Lines(drained(t, g.Console)) {
				got[strings.TrimSuffix(line, "\n")] = true
			}
			require.Equal(t, want, got)
			g.Close()
		}
	}
}

func descriptorsOf(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}

// drained is what is in a console.
func drained(t *testing.T, console *os.File) string {
	t.Helper()
	text := make([]byte, waiting(t, console))
	_, err := io.ReadFull(console, text)
	require.NoError(t, err)
	return string(text)
}

// TestNothingRunsThatIsOnNoRecord: who waits at its gate ends with its daemon.
func TestNothingRunsThatIsOnNoRecord(t *testing.T) {
	w := newWorld(t)
	w.disconnect()
	c := exec.Command(self(), "daemon", w.dbdir, builds[0], tender)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err, line)
	p, err := proc.Identify(pid)
	require.NoError(t, err)
	require.NoError(t, c.Process.Kill())
	_ = c.Wait() // killed

	w.connect()
	e := w.ended(p)
	require.Equal(t, messages.Exit{Known: true}, e.End.Exit, "the launcher has ended by itself")
	require.Empty(t, w.history("gated"), "it has not run")
	require.NoError(t, w.client.Forget(t.Context(), p))
}

// ends is how many processes end while no daemon runs.
const ends = 400

// TestEndsWhileNoDaemonRuns: the daemons that come learn what has ended, and how, also
// by the next keeper, until one has acknowledged it.
func TestEndsWhileNoDaemonRuns(t *testing.T) {
	w := newWorld(t)
	door := filepath.Join(t.TempDir(), "door")
	require.NoError(t, unix.Mkfifo(door, 0o600))
	want := map[messages.Process]messages.Exit{}
	for i := range ends {
		exit := messages.Exit{Known: true, Code: i % 256}
		script := fmt.Sprintf("read x < %s; exit %d", door, exit.Code)
		if i%10 == 0 {
			exit = messages.Exit{Known: true, Signal: int(unix.SIGUSR1)}
			script = fmt.Sprintf("read x < %s; kill -USR1 $$", door)
		}
		g := w.shell("n"+strconv.Itoa(i), script)
		want[g.Process] = exit
		g.Close()
	}
	w.disconnect()
	f, err := os.OpenFile(door, os.O_RDWR, 0) // who reads has somebody who writes, until now
	require.NoError(t, err)
	w.until("all end", func() bool { return len(runningOf(want)) == 0 || writeLine(t, f) })
	require.NoError(t, f.Close())

	w.connect()
	w.requireEnds(want)
	require.Equal(t, len(want), w.reported, "each once")
	w.rest()
	t.Logf("%d kB resident with %d ends that nobody has acknowledged", resident(t, w.keeper), len(want))

	w.disconnect()
	w.kill()
	w.forgetEnds()
	w.connect()
	w.requireEnds(want)
	for p := range want {
		require.NoError(t, w.client.Forget(t.Context(), p))
	}
	list, err := w.client.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	w.disconnect()
	w.forgetEnds()
	w.kill()
	w.connect()
	list, err = w.client.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	require.Zero(t, w.endsReported())
	info, err := os.Stat(filepath.Join(w.dbdir, wire.Dir, wire.Journal))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(4*slack))
}

// writeLine lets somebody through a door. It returns false.
func writeLine(t *testing.T, f *os.File) bool {
	for range 64 {
		_, err := f.WriteString("\n")
		require.NoError(t, err)
	}
	return false
}

// runningOf are those of processes that have not ended.
func runningOf(all map[messages.Process]messages.Exit) (list []int) {
	for p := range all {
		if now, err := proc.Identify(p.PID); err == nil && now == p {
			list = append(list, p.PID)
		}
	}
	return list
}

func (w *world) requireEnds(want map[messages.Process]messages.Exit) {
	w.t.Helper()
	w.until("all ends are reported", func() bool { return w.endsReported() >= len(want) })
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, exit := range want {
		require.Equal(w.t, exit, w.ends[p].End.Exit, "%d", p.PID)
	}
}

// rest waits until the keeper has nothing to do: it has not run for longer than it takes
// to return memory. It returns how often it has run, ever, as the kernel counts that.
func (w *world) rest() (runs int) {
	w.t.Helper()
	last := -1
	w.until("the keeper is at rest", func() bool {
		before := last
		if last = switches(w.t, w.keeper); last == before {
			return true
		}
		time.Sleep(2 * calmAfter)
		return false
	})
	return last
}

// switches is how often the threads of a process have been given a processor. A machine
// that is busy does not change that.
func switches(t testing.TB, pid int) (n int) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(t, err)
	for _, task := range tasks {
		path := fmt.Sprintf("%d/task/%s", pid, task.Name())
		n += statusOf(t, path, "voluntary_ctxt_switches") + statusOf(t, path, "nonvoluntary_ctxt_switches")
	}
	return n
}

// resident is how much memory a process has, in kB.
func resident(t testing.TB, pid int) int {
	t.Helper()
	return statusOf(t, strconv.Itoa(pid), "VmRSS")
}

func statusOf(t testing.TB, process, field string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + process + "/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// TestAFloodWhileNoDaemonRuns: who prints does not wait, and the last lines are
// remembered, within the bounds that there are.
func TestAFloodWhileNoDaemonRuns(t *testing.T) {
	w := newWorld(t)
	const lines = 1_000_000 // some 12 MB, which is more than any pipe holds
	g := w.run("flood", self(), "print", strconv.Itoa(lines), "0", "5")
	g.Close()
	w.disconnect()
	w.until("it ends", func() bool { return len(w.journal()) == 1 && w.journal()[0].End != nil })
	require.Equal(t, messages.Exit{Known: true, Code: 5}, w.journal()[0].End.Exit)
	require.Equal(t, numbered(lines-history.Lines+1, lines), w.history("flood"))
	info, err := os.Stat(filepath.Join(w.dbdir, "console", ":flood"))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(2<<20))
	t.Logf("at most %d kB resident", statusOf(t, strconv.Itoa(w.keeper), "VmHWM"))
}

// TestNoLineIsLostOrTwice where daemons come and go, in good order and otherwise, while
// something prints.
func TestNoLineIsLostOrTwice(t *testing.T) {
	w := newWorld(t)
	const lines = 1000 // fewer than are remembered
	g := w.run("a", self(), "print", strconv.Itoa(lines), "500", "0")
	reader := newReader(t, w, g.Console, "a")
	g.Console = nil
	defer g.Close()
	for i := 0; w.endsReported() == 0; i++ {
		reader.read(10)
		reader.stop()
		switch i % 3 {
		case 0: // a daemon ends
			w.disconnect()
			w.connect()
		case 1:
			require.NoError(t, w.client.Leave(t.Context(), g.Process))
		case 2: // somebody has a look
			require.NoError(t, w.client.Leave(t.Context(), g.Process))
			list, err := w.client.List(t.Context())
			require.NoError(t, err)
			require.Len(t, list, 1)
		}
		console, err := w.client.Take(t.Context(), g.Process)
		if err != nil { // it has ended, and all was moved
			require.ErrorContains(t, err, errEnded.Error())
			break
		}
		reader = newReader(t, w, console, "a")
	}
	w.ended(g.Process)
	reader.stop()
	w.disconnect()
	w.connect() // what a daemon has not read has been moved
	require.Equal(t, numbered(1, lines), w.history("a"))
}

// A reader reads a console as the daemon does.
type reader struct {
	t    *testing.T
	pipe *history.Pipe
	log  *history.Log
}

func newReader(t *testing.T, w *world, console *os.File, name string) *reader {
	t.Helper()
	pipe, err := history.WatchPipe(console)
	require.NoError(t, err)
	d, err := history.Open(filepath.Join(w.dbdir, "console"), time.Now)
	require.NoError(t, err)
	return &reader{t, pipe, d.Log(named(name), func(err error) { t.Error(err) })}
}

// read reads so often, unless there is nothing for a while.
func (r *reader) read(times int) {
	stop := time.AfterFunc(50*time.Millisecond, r.pipe.Stop)
	defer stop.Stop()
	for range times {
		if _, err := r.log.Take(r.pipe); err != nil {
			require.ErrorIs(r.t, err, os.ErrDeadlineExceeded)
			return
		}
	}
}

func (r *reader) stop() {
	if r.pipe != nil {
		r.log.Close()
		_ = r.pipe.Close()
		r.pipe = nil
	}
}

// TestAKilledKeeperEndsNothing: the next one takes over what can be, and what is printed
// meanwhile is in the pipe.
func TestAKilledKeeperEndsNothing(t *testing.T) {
	for _, connected := range []bool{true, false} {
		t.Run(fmt.Sprintf("daemon %t", connected), func(t *testing.T) {
			w := newWorld(t)
			const lines = 600
			g := w.run("a", self(), "print", strconv.Itoa(lines), "300", "9")
			g.Close()
			old := w.keeper
			if !connected {
				w.disconnect()
			}
			w.kill()
			if connected {
				<-w.client.Done()
				_, err := w.client.List(t.Context())
				require.ErrorIs(t, err, client.ErrLost)
				w.disconnect()
			}
			w.connect()
			require.NotEqual(t, old, w.keeper)
			list, err := w.client.List(t.Context())
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, wire.Kept{Name: ":a", Process: g.Process}, list[0], "it runs, and is no child any more")
			w.disconnect()
			var status unix.WaitStatus
			w.until("it ends", func() bool { // it is this process's child now
				pid, err := unix.Wait4(g.Process.PID, &status, unix.WNOHANG, nil)
				return err == nil && pid == g.Process.PID
			})
			require.Equal(t, 9, status.ExitStatus())
			w.connect()
			e := w.ended(g.Process)
			if e.End.Exit.Known { // as the kernel reveals it since Linux 6.15
				require.Equal(t, messages.Exit{Known: true, Code: 9}, e.End.Exit)
			}
			require.Equal(t, numbered(1, lines), w.history("a"))
		})
	}
}

// TestEndsThatNobodyHasSeenAreNotInvented: what ends while neither a keeper nor a daemon
// runs has an unknown end.
func TestEndsThatNobodyHasSeenAreNotInvented(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exec sleep 60")
	g.Close()
	w.disconnect()
	w.kill()
	_ = unix.Kill(g.Process.PID, unix.SIGKILL)
	reap(g.Process.PID)
	w.connect()
	e := w.ended(g.Process)
	require.Equal(t, messages.Exit{}, e.End.Exit)
	require.Zero(t, e.End.AtMillis)
	require.Positive(t, e.End.FoundMillis)
}

// TestAStoppedKeeper answers when it goes on, and nobody waits for that. What it starts
// then ends, for nobody opens its gate.
func TestAStoppedKeeper(t *testing.T) {
	w := newWorld(t)
	g := w.run("a", self(), "print", "200", "100", "4")
	defer g.Close()
	require.NoError(t, unix.Kill(w.keeper, unix.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := start(ctx, w.client, orderOf("late", "/bin/sh", "-c", "echo it has run"))
	require.ErrorContains(t, err, "the keeper does not answer")
	require.NoError(t, unix.Kill(w.keeper, unix.SIGCONT))
	w.until("what was started late has ended", func() bool { return w.endsReported() >= 1 && w.has(":late") })
	require.Equal(t, messages.Exit{Known: true, Code: 4}, w.ended(g.Process).End.Exit)
	w.disconnect()
	w.connect()
	require.Empty(t, w.history("late"))
	require.Equal(t, numbered(1, 200), w.history("a"))
}

func (w *world) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.ends {
		if e.Name == name {
			return true
		}
	}
	return false
}

// TestUpgradesUnderLoad: one build takes the place of the other and back, while processes
// start, print and end, and neither children nor lines are lost.
func TestUpgradesUnderLoad(t *testing.T) {
	w := newWorld(t)
	const lines, upgrades = 900, 20
	printer := w.run("printer", self(), "print", strconv.Itoa(lines), "200", "11")
	printer.Close()
	require.NoError(t, w.client.Leave(t.Context(), printer.Process))
	want := map[messages.Process]messages.Exit{printer.Process: {Known: true, Code: 11}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			g := w.shell("n"+strconv.Itoa(i), "exit "+strconv.Itoa(i%256))
			want[g.Process] = messages.Exit{Known: true, Code: i % 256}
			g.Close()
		}
	}()
	pid := w.keeper
	for i := range upgrades {
		build := (i + 1) % 2
		require.NoError(t, w.client.Upgrade(w.ctx(), builds[build]))
		require.Equal(t, fmt.Sprintf("build-%d", build), w.client.Build())
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		require.NoError(t, err)
		require.Equal(t, builds[build], exe)
	}
	close(stop)
	<-stopped
	w.requireEnds(want)
	require.Equal(t, len(want), w.reported, "each once")
	require.Empty(t, zombies(t, pid))
	t.Logf("%d processes started and ended", len(want))
	w.disconnect()
	w.connect()
	require.Equal(t, pid, w.keeper)
	require.Equal(t, numbered(1, lines), w.history("printer"))
}

// TestNobodyWaitsForTheKeeper: a program that has started it, and whose output is read to
// the end, ends without it.
func TestNobodyWaitsForTheKeeper(t *testing.T) {
	w := newWorld(t)
	w.disconnect()
	w.kill()
	c := exec.Command(self(), "daemon", w.dbdir, builds[0], tender)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = c.Stdout
	require.NoError(t, c.Start())
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, c.Process.Kill())
	_, err = io.ReadAll(lines)
	require.NoError(t, err, "the end of its output has come")
	_ = c.Wait() // killed
	w.connect()
}

// TestEndsAreRepeatedUntilTheyAreAcknowledged: a daemon that is killed between hearing of
// an end and recording it loses nothing.
func TestEndsAreRepeatedUntilTheyAreAcknowledged(t *testing.T) {
	w := newWorld(t)
	g := w.shell("a", "exit 5")
	g.Close()
	for range 3 {
		require.Equal(t, messages.Exit{Known: true, Code: 5}, w.ended(g.Process).End.Exit)
		w.disconnect()
		w.forgetEnds()
		w.connect()
	}
	w.ended(g.Process)
	require.NoError(t, w.client.Forget(t.Context(), g.Process))
	w.disconnect()
	w.forgetEnds()
	w.connect()
	_, err := w.client.List(t.Context()) // ends come before its answer
	require.NoError(t, err)
	require.Zero(t, w.endsReported())
}

// zombies returns the children of a process that it has not reaped.
func zombies(t *testing.T, parent int) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[0] == "Z" && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestAConsoleHasOneReader: a daemon that has lost its keeper reads on. The next keeper
// waits until that daemon has ended.
func TestAConsoleHasOneReader(t *testing.T) {
	w := newWorld(t)
	door := filepath.Join(t.TempDir(), "door")
	require.NoError(t, unix.Mkfifo(door, 0o600))
	g := w.shell("a", "read x < "+door+"; echo hello; exec sleep 600")
	defer g.Close()
	w.kill()
	<-w.client.Done()
	out, err := exec.Command(builds[0], "--dbdir="+w.dbdir, "--detach").CombinedOutput()
	require.NoError(t, err, "%s", out)
	p := w.peer(t)
	w.keeper, err = seqpacket.CheckPeer(p.fd)
	require.NoError(t, err)
	p.close()
	f, err := os.OpenFile(door, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	w.until("something is printed", func() bool { return waiting(t, g.Console) > 0 })
	w.rest()
	require.Equal(t, len("hello\n"), waiting(t, g.Console), "the keeper leaves it alone")
	w.disconnect()
	w.until("the keeper reads", func() bool { return waiting(t, g.Console) == 0 })
	w.connect()
	require.Equal(t, []string{"hello"}, w.history("a"))
}

// TestADaemonThatWantsNoKeeper leaves it nothing to read.
func TestADaemonThatWantsNoKeeper(t *testing.T) {
	w := newWorld(t)
	door := filepath.Join(t.TempDir(), "door")
	require.NoError(t, unix.Mkfifo(door, 0o600))
	g := w.shell("a", "read x < "+door+"; echo hello; exec sleep 600")
	defer g.Close()
	w.disconnect()
	claim, err := client.NewClaim(w.ctx(), w.dbdir)
	require.NoError(t, err)
	f, err := os.OpenFile(door, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	w.until("something is printed", func() bool { return waiting(t, g.Console) > 0 })
	w.rest()
	require.Equal(t, len("hello\n"), waiting(t, g.Console))
	claim.Release()
	w.until("the keeper reads", func() bool { return waiting(t, g.Console) == 0 })
}

// TestWhatAnEndedTenderPrintedLast is in the pipe that the keeper holds, until the daemon
// acknowledges the end.
func TestWhatAnEndedTenderPrintedLast(t *testing.T) {
	w := newWorld(t)
	w.serve()
	g := w.shell("a", "exec sleep 600")
	w.disconnect()
	keeping, err := guestos.OpenKeeping(w.ctx(), w.config(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	machine := &guestos.Machine{Keeping: keeping}
	console, err := machine.OpenConsole(w.ctx(), g.Process)
	require.NoError(t, err)
	_, err = console.WriteString("hello\n")
	require.NoError(t, err)
	require.NoError(t, console.Close())
	g.Close()
	require.NoError(t, unix.Kill(g.Process.PID, unix.SIGKILL))
	w.until("it is gone", func() bool { _, err := proc.Identify(g.Process.PID); return errors.Is(err, proc.ErrGone) })
	console, err = machine.OpenConsole(w.ctx(), g.Process)
	require.NoError(t, err)
	require.Equal(t, len("hello\n"), waiting(t, console))
	require.NoError(t, console.Close())
	keeping.Close()
	w.connect()
	require.Equal(t, []string{"hello"}, w.history("a"), "the keeper had it, too")
	w.disconnect()

	keeping, err = guestos.OpenKeeping(w.ctx(), w.config(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer keeping.Close()
	machine.Keeping = keeping
	_, err = machine.OpenConsole(w.ctx(), g.Process)
	require.ErrorIs(t, err, proc.ErrGone, "all was moved")
}

// waiting returns how many bytes a console contains.
func waiting(t *testing.T, console *os.File) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(console.Fd()), unix.TIOCINQ)
	require.NoError(t, err)
	return n
}

// TestAKeeperEndsWhenItKeepsNothing: one that a daemon has started, when none is connected
// any more and the last end was acknowledged. A service manager's stays.
func TestAKeeperEndsWhenItKeepsNothing(t *testing.T) {
	w := newWorld(t)
	first := w.keeper
	g := w.shell("a", "read x; exit 3")
	w.disconnect()
	w.connect()
	require.Equal(t, first, w.keeper, "it keeps one")
	g.Close()
	w.ended(g.Process)
	w.disconnect()
	w.connect()
	require.Equal(t, first, w.keeper, "nobody has acknowledged its end")
	require.NoError(t, w.client.Upgrade(w.ctx(), builds[1]))
	w.ended(g.Process)
	require.NoError(t, w.client.Forget(t.Context(), g.Process))
	w.disconnect()
	w.until("it ends by itself", func() bool {
		var status unix.WaitStatus
		pid, err := unix.Wait4(first, &status, unix.WNOHANG, nil)
		return pid == first && err == nil && status.Exited() && status.ExitStatus() == 0
	})
	w.connect()
	require.NotEqual(t, first, w.keeper)

	w.serve()
	stays := w.keeper
	for range 3 {
		w.disconnect()
		w.connect()
	}
	require.Equal(t, stays, w.keeper)
}

// TestADaemonBesideAFlood gets the claim soon, though the keeper always has something to read.
func TestADaemonBesideAFlood(t *testing.T) {
	w := newWorld(t)
	for i := range 12 {
		g := w.shell(fmt.Sprint("flood", i), "exec yes 'a line of some length'")
		defer g.Close()
	}
	w.disconnect()
	for range 20 {
		before := w.lastRead()
		w.until("the keeper reads", func() bool { return w.lastRead().After(before) })
		claim, err := client.NewClaim(w.ctx(), w.dbdir)
		require.NoError(t, err)
		claim.Release()
	}
}

// lastRead returns when a history was last written.
func (w *world) lastRead() (last time.Time) {
	files, err := filepath.Glob(filepath.Join(w.dbdir, "console", "*"))
	require.NoError(w.t, err)
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(last) { // it may be replaced just now
			last = info.ModTime()
		}
	}
	return last
}

// TestTwoOfOneName: one has ended, and the daemon that was reading what it printed last goes while the
// next one runs. What both have printed is kept, in that order, and the keeper goes on.
func TestTwoOfOneName(t *testing.T) {
	w := newWorld(t)
	first := w.shell("a", "echo one")
	w.ended(first.Process)
	second := w.shell("a", "echo two; read x")
	w.until("it prints", func() bool { return waiting(t, second.Console) > 0 })
	first.Close()
	w.disconnect()
	w.until("all is kept", func() bool { return len(w.history("a")) == 2 })
	require.Equal(t, []string{"one", "two"}, w.history("a"))
	w.connect()
	second.Close()
}

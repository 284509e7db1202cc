package actors_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
)

// lastLines returns the first n lines that a new subscriber gets of a console when it asks for all.
func (w *world) lastLines(name string, n int) (lines []messages.DataConsole) {
	w.t.Helper()
	c := w.follow(name, messages.MaxInt)
	defer c.Close()
	for range n {
		lines = append(lines, c.receive().Payload.(messages.DataConsole))
	}
	return lines
}

// histories returns the names of the consoles that have a file.
func (w *world) histories() (names []string) {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "console"))
	require.NoError(w.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (w *world) historySize(name string) int64 {
	info, err := os.Stat(filepath.Join(w.dir, "console", name))
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(w.t, err)
	return info.Size()
}

// number returns n lines of chatty.
func number(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("line %d", i+1))
	}
	return lines
}

func TestHistoryOutlivesTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", "a:x", create(guest("chatty", "1000")))
	require.Equal(t, number(1000), w.lines("a:x", 1000))
	before := w.lastLines("a:x", 1000)
	for range 3 {
		w.restart()
		require.Equal(t, before, w.lastLines("a:x", 1000), "with their times")
	}
}

// A client that reads a console and leaves before the daemon has read the records removes nothing
// of it.
func TestHistoryOutlivesAGlanceAtTheStart(t *testing.T) {
	hold, idle := make(chan struct{}), make(chan messages.Name, 99)
	held := false
	w := newWorld(t, func(w *world) {
		w.fault = func(_ string, message any) {
			switch m := message.(type) {
			case messages.StoreLoad:
				if held {
					<-hold
				}
			case messages.ConsoleIdle:
				idle <- m.Name
			}
		}
	})
	w.succeeds("created unikernel", ":runs", create(guest("chatty", "10")))
	w.succeeds("created unikernel", ":ended", create(guest("chatty", "10", "exit")))
	w.untilInactive(":", ":ended")
	w.lines(":runs", 10)
	w.shutdown()
	held = true
	w.start()
	for _, name := range []string{":runs", ":ended", ":nothing"} {
		w.follow(name, 10).Close()
		for (<-idle).String() != name { // no subscriber reads
		}
	}
	close(hold)
	w.until("it knows", func() bool { return w.consoles() == 2 })
	require.Equal(t, number(10), w.lines(":runs", 10))
	require.Equal(t, number(10), w.lines(":ended", 10))
}

func TestThePostMortemOutlivesTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("chatty", "500", "exit")))
	w.until("it has ended", func() bool { return len(w.infos(":x")) == 0 })
	w.requireNothing()
	for range 2 {
		w.restart()
		require.Equal(t, number(500), w.lines(":x", 500))
	}
	c := w.connect(messages.AtConsole)
	defer c.Close()
	c.send(":x", messages.ConsoleSubscribe{Count: messages.Some(0)})
	require.Equal(t, success("subscribed"), c.receive().Payload)

	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	require.Equal(t, "hello from albatross: --name=x --quiet", c.line(), "the next run prints after it")
	w.restart()
	require.Equal(t, append(number(500), "hello from albatross: --name=x --quiet"), w.lines(":x", 501))
}

// A follower gets each line once, or the number of lines that it has missed, whenever it begins to
// follow.
func TestFollowersThatComeAndGoAreToldEachLineOnce(t *testing.T) {
	w := newWorld(t)
	const n = 20_000
	w.succeeds("created unikernel", ":x", create(guest("chatty", strconv.Itoa(n), "exit")))
	for last := 0; last < n; {
		c := w.follow(":x", messages.MaxInt)
		last = c.after(-1)
		for lines := 0; lines < 2000 && last < n; lines++ {
			last = c.after(last)
		}
		c.Close()
	}
}

// after returns the number of the next line of chatty, which follows the last one. The first may be
// any. Lines that were missed are added to the last one.
func (c *client) after(last int) int {
	c.w.t.Helper()
	line, n := c.line(), 0
	if _, err := fmt.Sscanf(line, "[%d lines missed", &n); err == nil {
		if last > 0 {
			last += n
		}
		return last
	}
	_, err := fmt.Sscanf(line, "line %d", &n)
	require.NoError(c.w.t, err, line)
	if last > 0 {
		require.Equal(c.w.t, last+1, n)
	}
	return n
}

// A line that is printed in two parts is one line, though a daemon has seen only one of them.
func TestALineThatNoDaemonSeesWhole(t *testing.T) {
	w := newWorld(t, tenderScript(t, "printf one; while ! [ -e $0.go ]; do sleep 0.05; done; echo two; exec sleep 1000\n"))
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.until("it has begun", func() bool { return w.historySize(":x") > 0 })
	w.restart()
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.go"), nil, 0o600))
	require.Equal(t, []string{"onetwo"}, w.lines(":x", 1))
}

// A unikernel ends in the middle of a line while no daemon runs. That line does not become a part
// of the first line of its successor.
func TestALineThatNobodyEnds(t *testing.T) {
	w := newWorld(t, tenderScript(t, "printf 'last words'; exec sleep 1000\n"))
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.until("it has begun", func() bool { return w.historySize(":x") > 0 })
	pid := w.pid(":x")
	w.shutdown()
	w.killAndReap(pid)
	w.start()
	require.Equal(t, []string{"last words"}, w.lines(":x", 1))
	w.until("it is gone", func() bool { return len(w.infos(":x")) == 0 })
	before := w.historySize(":x")
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.until("it has begun", func() bool { return w.historySize(":x") > before })
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	require.Equal(t, []string{"last words", "last words"}, w.lines(":x", 2))
}

func TestAConsoleThatIsEvictedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(2, 64)))
	for _, name := range []string{"a:x", "a:y", "a:z"} {
		w.succeeds("created unikernel", name, create(guest("hello", "--quiet", name)))
		w.lines(name, 1)
		w.succeeds("destroyed unikernel", name, messages.UnikernelDestroy{})
	}
	w.until("the first one has made way", func() bool { return len(w.histories()) == 2 })
	require.Equal(t, []string{"a:y", "a:z"}, w.histories())

	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet", "again")))
	require.Equal(t, []string{"hello from albatross: --name=x --quiet again"}, w.lines("a:x", 1))
	require.Len(t, w.lastLines("a:x", 1), 1)
	w.restart()
	require.Equal(t, "hello from albatross: --name=x --quiet again", w.lastLines("a:x", 1)[0].Line, "it is the first line")
	w.until("another one has made way", func() bool { return len(w.histories()) == 2 })
	require.Equal(t, []string{"a:x", "a:z"}, w.histories())
}

// TestAFollowerOfAConsoleThatMakesWay reads that, and may follow the next one of that name.
func TestAFollowerOfAConsoleThatMakesWay(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(1, 32)))
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	first := w.follow("a:x", 1)
	require.Contains(t, first.line(), "hello")
	w.succeeds("destroyed unikernel", "a:x", messages.UnikernelDestroy{})
	w.succeeds("created unikernel", "a:y", create(guest("hello", "--quiet")))
	first.requireDismissed("the daemon has let go of this console, as its path has no room for one more, or after a failure: follow it again to see what comes")

	second := w.follow("a:x", 1)
	w.succeeds("destroyed unikernel", "a:y", messages.UnikernelDestroy{})
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	require.Contains(t, second.line(), "hello")
	require.NoError(t, second.Close())
}

func TestHistoryOfStrangersIsSwept(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":runs", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", ":ended", create(guest("hello", "--once")))
	w.lines(":runs", 1)
	w.until("it has ended", func() bool { return len(w.infos(":ended")) == 0 })
	w.shutdown()
	for _, name := range []string{":stranger", "a:b:stranger", "tmp-123"} {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, "console", name), []byte("whatever"), 0o600))
	}
	w.start()
	require.Len(t, w.infos(":"), 1, "it has looked")
	require.Equal(t, []string{":ended", ":runs"}, w.histories())
}

// A subscriber of a console that never existed leaves no file.
func TestASubscriberMakesNoHistory(t *testing.T) {
	w := newWorld(t)
	w.follow(":nothing", 1).Close()
	w.follow(strings.Repeat("a:", 200)+"x", 1).Close()
	w.restart()
	require.Empty(t, w.histories())
}

// A console that fails reads its history back from disk, and continues after it: no line is
// missing, and none is there twice.
func TestAConsoleThatFailsForgetsNothing(t *testing.T) {
	for message, every := range map[string]int{
		"console.feedRead": 1, "console.followed": 2, "console.linesRead": 2, "messages.More": 2, "messages.ConsoleAttach": 2,
	} {
		t.Run(message, func(t *testing.T) {
			const n = 1000
			faults := &failOften{message: message, every: every}
			w := newWorld(t, func(w *world) { w.fault = faults.at })
			w.succeeds("created unikernel", ":x", create(guest("chatty", strconv.Itoa(n))))
			for faults.count() == 0 {
				w.glance(":x")
			}
			faults.disarm()
			require.Equal(t, number(n), w.lines(":x", n))
		})
	}
}

// glance follows a console, which may fail, until a line comes.
func (w *world) glance(name string) {
	w.t.Helper()
	c := w.connect(messages.AtConsole)
	defer c.Close()
	c.send(name, messages.ConsoleSubscribe{Count: messages.Some(1)})
	if _, failed := c.receive().Payload.(messages.Failure); failed {
		return
	}
	select {
	case <-c.out:
	case <-c.closed:
	case <-time.After(deadline):
		require.FailNow(w.t, "neither a line nor the end")
	}
}

// mostFailures limits the faults of failOften: an actor that failed whenever two sessions ask it
// would never get any further.
const mostFailures = 6

// failOften makes actors fail at every nth message of a type.
type failOften struct {
	mu      sync.Mutex
	message string
	every   int // 0: none
	seen    int
	failed  int
}

func (f *failOften) at(_ string, message any) {
	if f.hit(message) {
		panic("injected")
	}
}

func (f *failOften) hit(message any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.every == 0 || fmt.Sprintf("%T", message) != f.message {
		return false
	}
	f.seen++
	if f.seen%f.every != 0 || f.failed == mostFailures {
		return false
	}
	f.failed++
	return true
}

func (f *failOften) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *failOften) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.every = 0
}

// smallHistories keeps histories on a disk of a size.
func smallHistories(t *testing.T, size string) func(*world) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	return func(w *world) {
		dir := filepath.Join(w.dir, "console")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700"))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	}
}

// A full disk stops no unikernel, and the daemon remembers the lines that it could not write.
func TestAFullDiskStopsNoConsole(t *testing.T) {
	w := newWorld(t, smallHistories(t, "64k"))
	filler := filepath.Join(w.dir, "console", "filler")
	require.ErrorIs(t, os.WriteFile(filler, make([]byte, 1<<20), 0o600), unix.ENOSPC)
	w.succeeds("created unikernel", ":x", create(guest("chatty", "5000", "exit")))
	w.until("it has ended", func() bool { return len(w.infos(":x")) == 0 })
	want := number(5000)[5000-history.Lines:]
	require.Equal(t, want, w.lines(":x", history.Lines))

	require.NoError(t, os.Remove(filler))
	w.restart() // a daemon that stops tries once more
	require.Equal(t, want, w.lines(":x", history.Lines))
}

// TestALineThatTheRunBeforeHasNotEnded is a line of its own, also where the console has
// failed instead of reading the end of that run.
func TestALineThatTheRunBeforeHasNotEnded(t *testing.T) {
	faults := crashOnce(supervise.CrashBefore, "console", 1, messages.ConsoleClose{})
	script := tenderScript(t, `case "$*" in *second*) echo second;; *) printf first;; esac; exec sleep 1000`+"\n")
	w := newWorld(t, script, func(w *world) { w.faults = faults })
	w.succeeds("created unikernel", ":x", create(guest("hello", "first")))
	w.until("it is on disk", func() bool { return w.historySize(":x") > 0 })
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	require.Equal(t, 1, faults.Injected())
	w.succeeds("created unikernel", ":x", create(guest("hello", "second")))
	require.Equal(t, []string{"first", "second"}, w.lines(":x", 2))
}

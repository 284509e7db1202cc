package actors_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
)

// ends returns how the last runs ended.
func (w *world) ends(name string) []messages.NamedEnd {
	w.t.Helper()
	c := w.connect(messages.AtControl)
	c.send(name, messages.EndList{})
	list := c.receive().Payload.(messages.SuccessEnds).List
	<-c.closed
	return list
}

// endNames returns the names of the unikernels that have ended, in the order of the answer.
func (w *world) endNames(name string) (names []string) {
	w.t.Helper()
	for _, e := range w.ends(name) {
		names = append(names, e.Name.String())
	}
	return names
}

// ended waits until the daemon lists how a unikernel ended.
func (w *world) ended(name string) messages.End {
	w.t.Helper()
	var list []messages.NamedEnd
	w.until(name+" has ended", func() bool { list = w.ends(name); return len(list) > 0 })
	require.Len(w.t, list, 1)
	require.Equal(w.t, name, list[0].Name.String(), "in full")
	return list[0].End
}

// exiting returns a command for a unikernel that exits at once.
func exiting(code string, fail messages.FailBehaviour) messages.UnikernelCreate {
	config := guest("exit", code)
	config.AddName, config.Fail = false, fail
	return create(config)
}

func TestEndsAreToldWhenUnikernelsAreGone(t *testing.T) {
	w := newWorld(t)
	require.Empty(t, w.ends(":"))
	before := time.Now().UnixMilli()
	w.succeeds("created unikernel", "a:code", exiting("3", messages.FailBehaviour{}))
	w.succeeds("created unikernel", "a:killed", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", "b:destroyed", create(guest("hello", "--quiet")))
	require.Empty(t, w.ends("a:killed"), "it runs")
	w.kill("a:killed")
	w.succeeds("destroyed unikernel", "b:destroyed", messages.UnikernelDestroy{})

	for name, exit := range map[string]messages.Exit{
		"a:code":      {Known: true, Code: 3},
		"a:killed":    {Known: true, Signal: 9},
		"b:destroyed": {Known: true, Signal: 15},
	} {
		end := w.ended(name)
		require.Equal(t, exit, end.Exit, name)
		require.Zero(t, end.Restarts, name)
		require.Positive(t, end.Usage.Value.UserMicros+end.Usage.Value.SystemMicros, "%s has used something", name)
		require.GreaterOrEqual(t, end.AtMillis, before, name)
		require.LessOrEqual(t, end.AtMillis, time.Now().UnixMilli(), name)
	}
	w.requireNothing()

	require.Equal(t, []string{"b:destroyed", "a:killed", "a:code"}, w.endNames(":"))
	require.Equal(t, []string{":killed", ":code"}, w.endNames("a:"), "relative to the path")
	require.Empty(t, w.ends("a:co:"))
	require.Empty(t, w.ends(":code"))

	require.Equal(t, []messages.Option[messages.Usage]{w.ended("a:code").Usage}, w.usages("a:code"))
	all := w.ends(":")
	w.restart()
	require.Equal(t, all, w.ends(":"), "it is on disk")
}

// TestEndsOfOneThatIsStartedAgain: the list shows the last end while the next run is under way, and
// how many ends there have been.
func TestEndsOfOneThatIsStartedAgain(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", exiting("3", messages.FailBehaviour{Restart: true}))
	var end messages.End
	w.until("it has been started again twice", func() bool {
		end = w.ended(":x")
		return end.Restarts >= 2
	})
	require.Equal(t, messages.Exit{Known: true, Code: 3}, end.Exit)
	require.IsType(t, messages.SuccessText{}, w.ask(":x", messages.UnikernelDestroy{}))
	last := w.ended(":x")
	require.GreaterOrEqual(t, last.Restarts, end.Restarts)
	w.restart()
	require.Equal(t, last, w.ended(":x"))
	w.requireNothing()
}

// TestEndThatNobodySaw: the list shows it as unknown, with the time at which it was found.
func TestEndThatNobodySaw(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	pid := w.pid(":x")
	w.shutdown()
	w.killAndReap(pid)
	before := time.Now().UnixMilli()
	w.start()
	end := w.ended(":x")
	require.GreaterOrEqual(t, end.FoundMillis, before)
	require.Equal(t, messages.End{FoundMillis: end.FoundMillis}, end)
	w.requireNothing()
}

// TestEndThatIsFound: while the process is not reaped, a daemon sees how it has ended, but not
// when. The unikernel was not taken over.
func TestEndThatIsFound(t *testing.T) {
	w := newWorld(t)
	again := guest("hello", "--quiet")
	again.Fail = messages.FailBehaviour{Restart: true}
	w.succeeds("created unikernel", ":x", create(again))
	p, _ := w.record(":x")
	h, err := proc.Open(p.Runtime.Value.Process)
	require.NoError(t, err)
	defer func() { _ = h.Close() }()
	w.shutdown()
	require.NoError(t, unix.Kill(h.Process().PID, unix.SIGKILL))
	w.until("it has ended", h.Ended)
	before := time.Now().UnixMilli()
	w.start()
	end := w.ended(":x")
	require.GreaterOrEqual(t, end.FoundMillis, before)
	require.Equal(t, messages.End{Exit: messages.Exit{Known: true, Signal: 9}, FoundMillis: end.FoundMillis, Usage: end.Usage}, end)
	w.requireEvents(":x", "created: the command create", "started: the command create",
		"exited by signal 9: it ended while no daemon saw it", "destroyed: signal 9 asks for no restart")
	w.requireNothing()
}

// greedy is a tender that takes more memory than it may have, once the file $0.go exists.
const greedy = "echo up; while ! [ -e $0.go ]; do sleep 0.01; done; exec tail /dev/zero\n"

// TestOutOfMemory: the kernel has killed it. Its cgroup shows that, whether or not a daemon ran at
// that time.
func TestOutOfMemory(t *testing.T) {
	outOfMemory := messages.Exit{Known: true, Signal: 9, OutOfMemory: true}
	for title, offline := range map[string]bool{"seen": false, "while no daemon runs": true} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t, withCgroups, tenderScript(t, greedy))
			again := guest("hello")
			again.Fail = messages.FailBehaviour{Restart: true}
			w.succeeds("created unikernel", ":x", create(guest("hello")))
			w.succeeds("created unikernel", ":y", create(again))
			w.lines(":x", 1)
			w.lines(":y", 1)
			pids := []int{w.pid(":x"), w.pid(":y")}
			if offline {
				w.shutdown()
			}
			require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.go"), nil, 0o600))
			if offline {
				for _, pid := range pids {
					_, err := unix.Wait4(pid, nil, 0, nil)
					require.NoError(t, err)
				}
				require.NoError(t, os.Remove(filepath.Join(w.dir, "solo5-spt.go")))
				w.start()
			}
			require.Equal(t, outOfMemory, w.ended(":x").Exit)
			require.Equal(t, outOfMemory, w.ended(":y").Exit)
			w.until("the one is gone", func() bool { _, there := w.record(":x"); return !there })
			cause := map[bool]string{
				false: "the kernel killed it, since it or the machine had no memory left", true: "it ended while no daemon saw it",
			}[offline]
			w.requireEvents(":x", "created: the command create", "started: the command create",
				"exited by out of memory: "+cause, "destroyed: out of memory asks for no restart")
			w.until("the other is started again", func() bool {
				return slices.Contains(w.eventsOf(":y"), "started: out of memory asks for a restart")
			})
		})
	}
}

// TestWaiting: a unikernel that has ended and will be started again is listed as waiting, with the
// time and the reason. So is one that cannot be started at all.
func TestWaiting(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", exiting("3", messages.FailBehaviour{Restart: true}))
	waiting := func() (found messages.NamedEnd) {
		w.until("it waits", func() bool {
			for _, e := range w.ends(":x") {
				found = e
			}
			return found.Wait.OK
		})
		return found
	}
	e := waiting()
	require.Equal(t, messages.Exit{Known: true, Code: 3}, e.End.Exit)
	require.Equal(t, messages.Public("exit 3 asks for a restart"), e.Wait.Value.Cause)
	require.GreaterOrEqual(t, e.Wait.Value.Since.UnixMilli(), e.End.AtMillis)

	require.NoError(t, os.Rename(filepath.Join(w.dir, "images"), filepath.Join(w.dir, "away")))
	first := messages.NamedEnd{}
	w.until("it cannot be started", func() bool {
		first = waiting()
		return strings.HasPrefix(string(first.Wait.Value.Cause), "it could not be started: ")
	})
	failures := func() int {
		return strings.Count(strings.Join(w.eventsOf(":x"), "\n"), "restarting: it could not be started: ")
	}
	before := failures()
	w.until("it was tried again", func() bool { return failures() > before })
	require.Equal(t, first.Wait.Value.Since, waiting().Wait.Value.Since, "a failed try does not end the wait")
	survey, err := w.actors.Survey(t.Context())
	require.NoError(t, err)
	require.Len(t, survey.Status, 1)
	require.False(t, survey.Status[0].Running)
	require.Equal(t, first.Wait.Value.Since, survey.Status[0].Wait.Value.Since)

	require.NoError(t, os.Rename(filepath.Join(w.dir, "away"), filepath.Join(w.dir, "images")))
	w.until("it is started", func() bool {
		return slices.Contains(w.eventsOf(":x"), "started: it could not be started before")
	})
}

// TestEndsAreKeptAsLongAsConsoles: what is evicted is forgotten, on disk as well.
func TestEndsAreKeptAsLongAsConsoles(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(2, 64)))
	for _, name := range []string{"a:one", "a:two", "a:three"} {
		w.succeeds("created unikernel", name, exiting("3", messages.FailBehaviour{}))
		w.ended(name)
	}
	require.Equal(t, []string{":two", ":three"}, w.endNames("a:"))
	w.restart()
	require.Equal(t, []string{":two", ":three"}, w.endNames("a:"))
}

func TestOnlyEndsOnTheSocketOfEvents(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		endpoint messages.Endpoint
		payload  messages.Payload
		text     string
	}{
		"vmmd":           {messages.AtVMMD, messages.EndList{}, "unknown command"},
		"console":        {messages.AtConsole, messages.EndList{}, "unknown command"},
		"stats":          {messages.AtStats, messages.EndList{}, "unexpected command"},
		"settings":       {messages.AtVMMD, messages.SettingList{}, "unknown command"},
		"no events":      {messages.AtVMMD, messages.EventsSubscribe{}, "unknown command"},
		"another":        {messages.AtControl, messages.UnikernelDestroy{}, "unknown command"},
		"answer":         {messages.AtControl, messages.SuccessEnds{}, "unknown command"},
		"not understood": {messages.AtControl, messages.BadRequest{Why: "what?"}, "what?"},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.connect(tc.endpoint)
			c.send(":x", tc.payload)
			require.Equal(t, messages.Failure{Text: messages.Public(tc.text)}, c.receive().Payload)
			<-c.closed
		})
	}
}

// TestSettings: the list shows which unikernels get no name among their arguments.
func TestSettings(t *testing.T) {
	w := newWorld(t)
	unnamed := guest("hello", "--quiet")
	unnamed.AddName = false
	w.succeeds("created unikernel", "a:named", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", "a:unnamed", create(unnamed))
	settings := func(name string) []messages.NamedSettings {
		c := w.connect(messages.AtControl)
		c.send(name, messages.SettingList{})
		list := c.receive().Payload.(messages.SuccessSettings).List
		<-c.closed
		return list
	}
	named, nameless := messages.NamedSettings{Name: messages.Name{Label: "named"}, AddName: true}, messages.NamedSettings{Name: messages.Name{Label: "unnamed"}}
	require.ElementsMatch(t, []messages.NamedSettings{named, nameless}, settings("a:"))
	nameless.Name.Path = "a"
	require.Equal(t, []messages.NamedSettings{nameless}, settings("a:unnamed"), "in full")
	require.Empty(t, settings("b:"))
}

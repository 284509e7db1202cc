package actors_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/history"
)

// failFirst makes actors fail at the first messages of some types, as many as left says.
type failFirst struct {
	mu   sync.Mutex
	left map[string]int
}

func (f *failFirst) at(_ string, message any) {
	if f.hit(fmt.Sprintf("%T", message)) {
		panic("injected")
	}
}

func (f *failFirst) hit(message string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left[message] == 0 {
		return false
	}
	f.left[message]--
	return true
}

// arm fails the test if fewer such messages come until its end.
func (f *failFirst) arm(t *testing.T, left map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = left
	t.Cleanup(func() { require.True(t, f.done(), "messages that should fail have not come: %v", f.left) })
}

func (f *failFirst) done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.left {
		if n > 0 {
			return false
		}
	}
	return true
}

// A follower keeps its connection when the actor of the console fails, and gets each line once.
func TestFollowersOutliveAConsoleThatFails(t *testing.T) {
	const n = 1000
	for title, left := range map[string]map[string]int{
		"at credits":     {"messages.More": 2},
		"at reads":       {"console.feedRead": 1},
		"at its history": {"messages.More": 1, "console.followed": 1},
		"at lines":       {"console.linesRead": 2},
		"again and again": {
			"messages.More": 2, "messages.ConsoleResume": 2, "console.followed": 1, "console.linesRead": 1,
		},
	} {
		t.Run(title, func(t *testing.T) {
			faults := &failFirst{}
			script := tenderScript(t, fmt.Sprintf("echo up; while ! [ -e $0.go ]; do sleep 0.05; done; seq -f 'line %%g' %d; exec sleep 1000\n", n))
			w := newWorld(t, script, func(w *world) { w.fault = faults.at })
			w.succeeds("created unikernel", ":x", create(guest("hello")))
			w.lines(":x", 1)
			first, second := w.follow(":x", 0), w.follow(":x", 1)
			defer first.Close()
			defer second.Close()
			require.Equal(t, "up", second.line())
			faults.arm(t, left)
			require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.go"), nil, 0o600))
			require.Equal(t, number(n), second.linesOf(n))
			require.Equal(t, number(n), first.linesOf(n))
			require.True(t, faults.done(), "%v", faults.left)
		})
	}
}

// linesOf returns the next n lines.
func (c *client) linesOf(n int) (lines []string) {
	c.w.t.Helper()
	for range n {
		lines = append(lines, c.line())
	}
	return lines
}

// The FIFO of a unikernel may be removed while no daemon runs, or before the actor of the console
// fails. The next reader still reads what the unikernel prints.
func TestAConsoleWhoseFIFOIsGone(t *testing.T) {
	faults := &failFirst{}
	script := tenderScript(t, "n=0; while n=$((n+1)); do while [ -e $0.wait ]; do sleep 0.01; done; touch $0.wait; echo line $n; done\n")
	w := newWorld(t, script, func(w *world) { w.fault = faults.at })
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	more := func() { require.NoError(t, os.Remove(filepath.Join(w.dir, "solo5-spt.wait"))) }
	sweep := func() {
		require.NoError(t, os.RemoveAll(w.guests.FIFODir))
		require.NoError(t, os.Mkdir(w.guests.FIFODir, 0o700))
	}
	w.lines(":x", 1)
	pid := w.pid(":x")
	w.shutdown()
	sweep()
	more()
	w.start()
	require.Equal(t, []string{"line 1", "line 2"}, w.lines(":x", 2))
	require.Equal(t, pid, w.pid(":x"))

	sweep()
	require.NoError(t, fifo.Create(w.fifo(":x")), "it is another FIFO")
	faults.arm(t, map[string]int{"console.feedRead": 1})
	more()
	w.until("the console has failed", faults.done)
	more()
	require.Equal(t, []string{"line 1", "line 2", "line 3", "line 4"}, w.lines(":x", 4))
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.requireNothing()
}

// A console of another daemon is read on after its actor has failed.
func TestAConsoleOfAnotherDaemonThatFails(t *testing.T) {
	faults := &failFirst{}
	w := newWorld(t, func(w *world) { w.fault = faults.at })
	link := w.connect(messages.AtConsole)
	defer link.Close()
	w.makeFIFO(":x")
	require.Equal(t, messages.SuccessEmpty{}, link.ask(":x", add(1)))
	file, err := os.OpenFile(w.fifo(":x"), os.O_RDWR, 0) // a writer without a reader could not write
	require.NoError(t, err)
	x := &foreign{w, ":x", file}
	follower := w.follow(":x", 0)
	defer follower.Close()
	faults.arm(t, map[string]int{"console.feedRead": 1})
	x.print("one\n")
	w.until("it has failed", faults.done)
	x.print("two\n")
	require.Equal(t, []string{"one", "two"}, follower.linesOf(2))
	x.end()
	w.untilInactive(":", ":x")
}

// A console that nobody needs is forgotten, even if its actor has failed.
func TestAConsoleThatHasFailedIsForgotten(t *testing.T) {
	for _, message := range []string{
		"messages.ConsoleAttach", "messages.More", "messages.ConsoleResume", "messages.ConsoleProbe",
		"messages.ConsoleAdopt", "console.followed", "console.feedOpened", "supervise.Terminated",
	} {
		t.Run(message, func(t *testing.T) {
			faults := &failFirst{left: map[string]int{message: 1}}
			if message == "messages.ConsoleResume" || message == "messages.ConsoleProbe" {
				faults.left["messages.More"] = 1 // else no ConsoleResume comes
			}
			w := newWorld(t, func(w *world) { w.fault = faults.at })
			for !faults.done() {
				c := w.connect(messages.AtConsole)
				c.ask(":nothing", add(1))
				c.ask(":nothing", messages.ConsoleSubscribe{Count: messages.Some(1)})
				if message == "messages.ConsoleResume" { // a client that has left does not send it
					w.until("it has failed twice", faults.done)
				}
				c.Close()
			}
			w.until("it is forgotten", func() bool { return w.consoles() == 0 })
		})
	}
}

// A leaver is a client that can close its writing side.
type leaver struct {
	*client
	left chan struct{}
}

func (l *leaver) Read() (messages.Wire, error) {
	select {
	case m := <-l.in:
		return m, nil
	case <-l.left:
	case <-l.closed:
	}
	return messages.Wire{}, io.EOF
}

// leave returns the last lines of a console, and ends the subscription.
func (w *world) leave(name string, count int) (lines []string) {
	for _, l := range w.past(name, messages.ConsoleSubscribe{Count: messages.Some(count)}) {
		lines = append(lines, l.Line)
	}
	return lines
}

// past returns all lines that the subscription gets.
func (w *world) past(name string, subscribe messages.ConsoleSubscribe) []messages.DataConsole {
	return w.leaver(name, subscribe).rest()
}

// leaver subscribes, and closes its writing side.
func (w *world) leaver(name string, subscribe messages.ConsoleSubscribe) *leaver {
	c := &leaver{w.newClient(), make(chan struct{})}
	w.serve(messages.AtConsole, c)
	c.ask(name, subscribe)
	close(c.left)
	return c
}

// rest reads all lines to the end.
func (l *leaver) rest() (lines []messages.DataConsole) {
	for {
		select {
		case m := <-l.out:
			lines = append(lines, m.Payload.(messages.DataConsole))
		case <-l.closed:
			return lines
		}
	}
}

// A client that closes its writing side gets the lines that exist, and no later ones.
func TestWhoLeavesGetsWhatThereIs(t *testing.T) {
	faults := &failFirst{}
	leaves := make(chan struct{}, 1)
	w := newWorld(t, func(w *world) {
		w.fault = func(actor string, message any) {
			faults.at(actor, message)
			if _, ok := message.(messages.ConsoleLeave); ok {
				select {
				case leaves <- struct{}{}:
				default: // no test waits for it
				}
			}
		}
	})
	require.Empty(t, w.leave(":nothing", 10))
	w.succeeds("created unikernel", ":x", create(guest("chatty", "1000")))
	w.lines(":x", 1000)
	require.Equal(t, number(1000), w.leave(":x", messages.MinInt))
	require.Equal(t, []string{"line 1000"}, w.leave(":x", 1))
	require.Empty(t, w.leave(":x", 0))

	w.succeeds("created unikernel", ":endless", create(guest("chatty", "1000000000")))
	w.lines(":endless", 1)
	<-leaves // that of a former client
	endless := w.leaver(":endless", messages.ConsoleSubscribe{Count: messages.Some(messages.MaxInt)})
	<-leaves
	require.NotEmpty(t, endless.rest(), "it comes to an end")

	faults.arm(t, map[string]int{"messages.ConsoleLeave": 1, "messages.ConsoleResume": 1})
	require.Equal(t, number(1000), w.leave(":x", 1000))
	require.True(t, faults.done())
}

// Any subscription gets some of the last lines, in the form that it has asked for.
func TestSubscriptionsOfAllSorts(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("chatty", "2000", "exit")))
	w.untilInactive(":", ":x")
	all := w.past(":x", messages.ConsoleSubscribe{Count: messages.Some(history.Lines)})
	require.Len(t, all, history.Lines)
	require.Equal(t, "line 2000", all[history.Lines-1].Line)
	first, last := all[0].Time, all[history.Lines-1].Time
	later := slices.IndexFunc(all, func(l messages.DataConsole) bool { return l.Time.After(first) })
	if later < 0 { // all lines have the same time
		later = history.Lines
	}
	counts := map[int]int{
		messages.MinInt: history.Lines, -1: history.Lines, 0: 0, 1: 1,
		history.Lines - 1: history.Lines - 1, history.Lines: history.Lines, history.Lines + 1: history.Lines, messages.MaxInt: history.Lines,
	}
	dates := map[time.Time]int{
		{}:                                       history.Lines,
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC): history.Lines,
		time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC): history.Lines,
		first:        history.Lines,
		first.Add(1): history.Lines - later,
		last.Add(1):  0,
		time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC):           0,
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC): 0,
	}
	for _, old := range []bool{false, true} {
		for count, n := range counts {
			requireLast(t, all, n, old, w.past(":x", messages.ConsoleSubscribe{Old: old, Count: messages.Some(count)}))
		}
		for since, n := range dates {
			requireLast(t, all, n, old, w.past(":x", messages.ConsoleSubscribe{Old: old, Since: messages.Some(since)}))
		}
	}
}

// requireLast checks that a client got the last n lines.
func requireLast(t *testing.T, all []messages.DataConsole, n int, old bool, got []messages.DataConsole) {
	t.Helper()
	var want []messages.DataConsole
	for _, l := range all[len(all)-n:] {
		l.Old = old
		want = append(want, l)
	}
	require.Equal(t, want, got)
}

// A console that fails after it was opened, and before the tender runs, reads what the tender
// prints all the same.
func TestAConsoleThatFailsWhileItsUnikernelStarts(t *testing.T) {
	faults := &failFirst{}
	failed := make(chan struct{})
	w := newWorld(t, func(w *world) {
		w.fault = func(actor string, message any) {
			if _, ok := message.(messages.ConsoleRestarted); ok && !strings.Contains(actor, "/") {
				defer close(failed)
			}
			if fmt.Sprintf("%T", message) == "unikernel.launched" { // the console is open
				faults.arm(t, map[string]int{"messages.ConsoleAttach": 1})
				c := w.connect(messages.AtConsole)
				c.ask(":x", messages.ConsoleSubscribe{Count: messages.Some(1)})
				c.Close()
				<-failed
				w.ask(":", messages.UnikernelInfo{Form: 6}) // the host has passed on what it got
			}
			faults.at(actor, message)
		}
	})
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "one")))
	w.followUntil(":x", "hello from albatross: --name=x --quiet one")
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
}

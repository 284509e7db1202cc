package actors_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/messages"
)

// failFirst makes actors fail at the first messages of some types: at so many each.
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

func (f *failFirst) arm(left map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = left
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

// Who follows a console is not cut off where its actor fails, and is told each line
// once.
func TestFollowersOutliveAConsoleThatFails(t *testing.T) {
	const n = 1000 // which a ring has
	for title, left := range map[string]map[string]int{
		"at credits":     {"messages.ConsoleMore": 2},
		"at reads":       {"actors.feedRead": 1},
		"at its history": {"messages.ConsoleMore": 1, "actors.ringLoaded": 1},
		"again and again": {
			"messages.ConsoleMore": 2, "messages.ConsoleResume": 2, "actors.ringLoaded": 1,
		},
	} {
		t.Run(title, func(t *testing.T) {
			faults := &failFirst{}
			script := tenderScript(t, fmt.Sprintf("echo up; while ! [ -e $0.go ]; do sleep 0.05; done; seq -f 'line %%g' %d; sleep 1000\n", n))
			w := newWorld(t, script, func(w *world) { w.fault = faults.at })
			w.succeeds("created unikernel", ":x", create(guest("hello")))
			w.lines(":x", 1)
			first, second := w.follow(":x", 0), w.follow(":x", 1)
			defer first.Close()
			defer second.Close()
			require.Equal(t, "up", second.line())
			faults.arm(left)
			require.NoError(t, os.WriteFile(filepath.Join(w.dir, "solo5-spt.go"), nil, 0o600))
			require.Equal(t, number(n), second.linesOf(n))
			require.Equal(t, number(n), first.linesOf(n))
			require.True(t, faults.done(), "%v", faults.left)
		})
	}
}

// linesOf are the next n lines.
func (c *client) linesOf(n int) (lines []string) {
	c.w.t.Helper()
	for range n {
		lines = append(lines, c.line())
	}
	return lines
}

// A console that nobody needs is forgotten, though its actor has failed.
func TestAConsoleThatHasFailedIsForgotten(t *testing.T) {
	for _, message := range []string{
		"messages.ConsoleAttach", "messages.ConsoleMore", "messages.ConsoleResume", "messages.ConsoleProbe",
		"messages.ConsoleAdopt", "actors.ringLoaded", "actors.feedOpened", "supervise.Terminated",
	} {
		t.Run(message, func(t *testing.T) {
			faults := &failFirst{left: map[string]int{message: 1}}
			if message == "messages.ConsoleResume" || message == "messages.ConsoleProbe" {
				faults.left["messages.ConsoleMore"] = 1 // or there is none
			}
			w := newWorld(t, func(w *world) { w.fault = faults.at })
			for !faults.done() {
				c := w.connect(actors.Console)
				c.ask(":nothing", add(1))
				c.ask(":nothing", messages.ConsoleSubscribe{Count: messages.Some(1)})
				c.Close()
			}
			w.until("it is forgotten", func() bool { return len(w.counts()) == 0 })
		})
	}
}

// A leaver closes its side of the connection when it likes.
type leaver struct {
	*client
	left chan struct{}
}

func (c *leaver) Read() (messages.Wire, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.left:
	case <-c.closed:
	}
	return messages.Wire{}, io.EOF
}

// leave subscribes, says that nothing more will be said, and hears all to the end.
func (w *world) leave(name string, count int) (lines []string) {
	c := &leaver{w.newClient(), make(chan struct{})}
	w.serve(actors.Console, c)
	c.ask(name, messages.ConsoleSubscribe{Count: messages.Some(count)})
	close(c.left)
	for {
		select {
		case m := <-c.out:
			lines = append(lines, m.Payload.(messages.DataConsole).Line)
		case <-c.closed:
			return lines
		}
	}
}

// Who says nothing more gets what there is, and not what comes later.
func TestWhoLeavesGetsWhatThereIs(t *testing.T) {
	faults := &failFirst{}
	w := newWorld(t, func(w *world) { w.fault = faults.at })
	require.Empty(t, w.leave(":nothing", 10))
	w.succeeds("created unikernel", ":x", create(guest("chatty", "1000")))
	w.lines(":x", 1000)
	require.Equal(t, number(1000), w.leave(":x", messages.MinInt))
	require.Equal(t, []string{"line 1000"}, w.leave(":x", 1))
	require.Empty(t, w.leave(":x", 0))

	w.succeeds("created unikernel", ":endless", create(guest("chatty", "1000000000")))
	w.lines(":endless", 1)
	require.LessOrEqual(t, len(w.leave(":endless", messages.MaxInt)), 1024+1, "and how many it has missed")

	faults.arm(map[string]int{"messages.ConsoleLeave": 1, "messages.ConsoleResume": 1})
	require.Equal(t, number(1000), w.leave(":x", 1000))
	require.True(t, faults.done())
}

package actors_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/actors"
	"albatross/messages"
)

// TestAPanicAnywhereIsAnsweredAndHealed makes one actor fail once, at each
// message it ever handles in the course of a few commands, and expects that
// every command is answered, that an answer is true, and that the daemon works
// as before afterwards.
func TestAPanicAnywhereIsAnsweredAndHealed(t *testing.T) {
	for _, actor := range []string{"host", "unikernel", "console", "store"} {
		t.Run(actor, func(t *testing.T) {
			for n := 1; n <= mostMessages && failsOnceAt(t, actor, n); n++ {
			}
		})
	}
}

// mostMessages is more than any actor handles in the course of the commands.
const mostMessages = 60

// failsOnceAt runs the commands with a failure at the nth message of an actor,
// and tells whether there were so many.
func failsOnceAt(t *testing.T, actor string, n int) bool {
	reached := true // as far as is known of one that was not selected by -run
	t.Run(fmt.Sprint(n), func(t *testing.T) {
		faults := &failOnce{actor: actor, left: n}
		w := newWorld(t, func(w *world) { w.fault = faults.at })
		someCommands(w)
		reached = faults.done()
		faults.disarm()

		w.ask(":x", messages.UnikernelDestroy{}) // whatever has become of it
		w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet", "after")))
		w.pid(":x")
		w.followUntil(":x", "hello from albatross: --name=x --quiet after")
		w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
		w.requireNothing()
	})
	return reached
}

// someCommands are answered one way or the other, and what they say is true.
func someCommands(w *world) {
	w.t.Helper()
	hello := func(text string) messages.Config { return guest("hello", "--quiet", text) }
	if w.ask(":x", create(hello("one"))) == success("created unikernel") {
		w.pid(":x")
	}
	if w.ask(":x", force(hello("two"))) == success("created unikernel") {
		w.pid(":x")
	}
	w.ask(":x", messages.UnikernelRestart{Form: messages.RestartSame})
	c := w.connect(actors.Console)
	c.send(":x", messages.ConsoleSubscribe{Count: messages.Some(1)})
	c.receive()
	c.Close()
	if w.ask(":x", messages.UnikernelDestroy{}) == success("destroyed unikernel") {
		_, there := w.record(":x")
		require.False(w.t, there)
	}
}

func success(text string) messages.Payload { return messages.SuccessText{Text: text} }

// failOnce makes an actor fail at one message.
type failOnce struct {
	mu    sync.Mutex
	actor string
	left  int
}

func (f *failOnce) at(actor string, message any) {
	if f.hit(actor) {
		panic(fmt.Sprintf("injected at %T", message))
	}
}

func (f *failOnce) hit(actor string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	// host#2, host#2/unikernel/:x#7
	name := strings.TrimPrefix(actor[strings.Index(actor, "/")+1:], "/")
	if f.left <= 0 || !strings.HasPrefix(name, f.actor) {
		return false
	}
	f.left--
	return f.left == 0
}

func (f *failOnce) done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left == 0
}

func (f *failOnce) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = 0
}

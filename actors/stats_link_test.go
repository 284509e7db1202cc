package actors_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

// linkUp connects a native collector that has just asked which unikernels run.
func (w *world) linkUp() *client {
	w.t.Helper()
	c := w.connect(messages.AtVMMD)
	c.send(":", messages.StatsInitial{})
	require.Equal(w.t, messages.SuccessEmpty{}, c.receive().Payload)
	return c
}

// nextCommand reads the next command for a native collector, and answers it.
func (c *client) nextCommand(sequence int64) (name string, command messages.Payload) {
	c.w.t.Helper()
	m := c.receive()
	require.Equal(c.w.t, sequence, m.Header.Sequence)
	require.Equal(c.w.t, messages.Version5, m.Header.Version)
	c.in <- messages.Wire{Header: m.Header, Payload: messages.SuccessText{Text: "done"}}
	return m.Header.Name.String(), m.Payload
}

func (w *world) adds(c *client, sequence int64, name string) {
	w.t.Helper()
	of, command := c.nextCommand(sequence)
	require.Equal(w.t, name, of)
	require.Equal(w.t, messages.StatsAdd{PID: w.pid(name)}, command)
}

func (w *world) removes(c *client, sequence int64, name string) {
	w.t.Helper()
	of, command := c.nextCommand(sequence)
	require.Equal(w.t, name, of)
	require.Equal(w.t, messages.StatsRemove{}, command)
}

func TestANativeCollectorIsToldWhatRuns(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	c := w.linkUp()
	w.adds(c, 8, "a:x")
	w.succeeds("created unikernel", ":y", create(guest("hello", "--quiet")))
	w.adds(c, 9, ":y")
	w.succeeds("created unikernel", ":y", force(guest("hello", "--quiet")))
	w.removes(c, 10, ":y")
	w.adds(c, 11, ":y")
	w.succeeds("destroyed unikernel", "a:x", messages.UnikernelDestroy{})
	w.removes(c, 12, "a:x")

	w.restart()
	<-c.closed
	c = w.linkUp()
	w.adds(c, 8, ":y")
}

// A unikernel does not run between its end and its next start.
func TestANativeCollectorAndOneThatIsStartedAgain(t *testing.T) {
	ready, due := make(chan struct{}, 10), make(chan func(), 1)
	w := newWorld(t, func(w *world) {
		w.fault = func(_ string, message any) {
			if _, ok := message.(messages.More); ok {
				ready <- struct{}{}
			}
		}
		w.clock.AfterFunc = heldBack(100*time.Millisecond, due)
	})
	c := w.linkUp()
	<-ready
	w.succeeds("created unikernel", ":x", exiting("3", messages.FailBehaviour{Restart: true}))
	_, command := c.nextCommand(8)
	require.IsType(t, messages.StatsAdd{}, command)
	again := <-due
	_, command = c.nextCommand(9)
	require.Equal(t, messages.StatsRemove{}, command)
	<-ready
	<-ready
	again()
	_, command = c.nextCommand(10)
	require.IsType(t, messages.StatsAdd{}, command)
}

// heldBack is the wall clock, except that timers of one length go into a channel.
func heldBack(length time.Duration, due chan<- func()) func(time.Duration, func()) func() bool {
	return func(d time.Duration, f func()) func() bool {
		if d != length {
			return supervise.WallClock().AfterFunc(d, f)
		}
		due <- f
		return func() bool { return true }
	}
}

// tardy is a connection on which a write returns long after the other end has got what was written.
type tardy struct {
	*client
	writing atomic.Int32
	most    atomic.Int32
	goOn    chan struct{}
}

func (t *tardy) Write(list []messages.Wire) error {
	t.most.Store(max(t.most.Load(), t.writing.Add(1)))
	defer t.writing.Add(-1)
	err := t.client.Write(list)
	select {
	case <-t.goOn:
	case <-t.closed:
	}
	return err
}

func TestOneWriteToANativeCollectorAtATime(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{":x", ":y"} {
		w.succeeds("created unikernel", name, create(guest("hello", "--quiet")))
	}
	c := &tardy{client: w.newClient(), goOn: make(chan struct{})}
	w.serve(messages.AtVMMD, c)
	c.send(":", messages.StatsInitial{})
	require.Equal(t, messages.SuccessEmpty{}, c.receive().Payload)
	c.goOn <- struct{}{}
	c.nextCommand(8)
	w.linkless(c)
	c.goOn <- struct{}{}
	c.nextCommand(9)
	require.Equal(t, int32(1), c.most.Load())
}

// TestANativeCollectorThatAnswersTwice: the daemon closes its connection, also while the write of
// the command has not returned.
func TestANativeCollectorThatAnswersTwice(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	c := &tardy{client: w.newClient(), goOn: make(chan struct{})}
	w.serve(messages.AtVMMD, c)
	c.send(":", messages.StatsInitial{})
	require.Equal(t, messages.SuccessEmpty{}, c.receive().Payload)
	c.goOn <- struct{}{}
	header := c.receive().Header
	for range 2 {
		c.in <- messages.Wire{Header: header, Payload: messages.SuccessEmpty{}}
	}
	w.until("both have been read", func() bool { return len(c.in) == 0 })
	select {
	case c.goOn <- struct{}{}:
	case <-c.closed:
	}
	c.untilClosed()
}

// linkless checks that the daemon writes nothing more to a connection after it has handled the last
// answer.
func (w *world) linkless(c *tardy) {
	w.t.Helper()
	w.until("the answer has been read", func() bool { return len(c.in) == 0 })
	w.succeeds("created unikernel", ":z", create(guest("hello", "--quiet")))
	select {
	case m := <-c.out:
		require.FailNow(w.t, "the daemon writes something", "%T", m.Payload)
	default:
	}
}

func TestANativeCollectorIsToldOfTaps(t *testing.T) {
	w := newWorld(t, withBridge)
	w.succeeds("created unikernel", ":x", create(echo()))
	_, command := w.linkUp().nextCommand(8)
	require.Equal(t, messages.StatsAdd{PID: w.pid(":x"), Taps: []messages.Tap{{Device: "service", Tap: "vmmtap0"}}}, command)
}

// However much happens while the collector does not answer, its next commands hold only the result.
func TestASlowNativeCollector(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	c := w.linkUp()
	m := c.receive()
	for range 3 {
		w.succeeds("created unikernel", ":y", create(guest("hello", "--quiet")))
		w.succeeds("created unikernel", ":x", force(guest("hello", "--quiet")))
		w.succeeds("destroyed unikernel", ":y", messages.UnikernelDestroy{})
	}
	c.in <- messages.Wire{Header: m.Header, Payload: messages.Failure{Text: "no"}} // a failure is an answer, too
	w.removes(c, 9, ":x")
	w.adds(c, 10, ":x")
	w.succeeds("created unikernel", ":z", create(guest("hello", "--quiet")))
	w.adds(c, 11, ":z")
}

func TestANewerNativeCollectorReplacesTheOlder(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	old := w.linkUp()
	w.adds(old, 8, ":x")
	next := w.linkUp()
	old.untilClosed()
	w.adds(next, 8, ":x")
	next.Close()
	w.succeeds("destroyed unikernel", ":x", messages.UnikernelDestroy{})
	w.linkUp()
}

func TestANativeCollectorThatMisbehaves(t *testing.T) {
	w := newWorld(t)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	for what, say := range map[string]func(*client, messages.Wire){
		"another number": func(c *client, m messages.Wire) {
			m.Header.Sequence++
			c.in <- messages.Wire{Header: m.Header, Payload: messages.SuccessEmpty{}}
		},
		"a command": func(c *client, m messages.Wire) { c.send(":x", messages.UnikernelDestroy{}) },
		"two answers": func(c *client, m messages.Wire) {
			for range 2 {
				c.in <- messages.Wire{Header: m.Header, Payload: messages.SuccessEmpty{}}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := w.linkUp()
			say(c, c.receive())
			c.untilClosed()
			require.Len(t, w.infos(":x"), 1)
		})
	}
}

// TestANativeCollectorThatDoesNotAnswer: its deadline expires at once.
func TestANativeCollectorThatDoesNotAnswer(t *testing.T) {
	due := make(chan func(), 1)
	w := newWorld(t, func(w *world) { w.clock.AfterFunc = heldBack(30*time.Second, due) })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	c := w.linkUp()
	(<-due)()
	c.untilClosed()
	next := w.linkUp()
	<-due
	w.adds(next, 8, ":x")
}

package actors_test

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A slowClient announces each write to it before it takes the messages.
type slowClient struct {
	*client
	writing chan struct{}
}

func (s *slowClient) Write(list []messages.Wire) error {
	s.writing <- struct{}{}
	return s.client.Write(list)
}

// TestDetachedBeforeAnswer: another subscription ends this one while its command is being answered.
// The client gets its answer all the same.
func TestDetachedBeforeAnswer(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.MaxSubscribers = 1 })
	for range 20 {
		first := &slowClient{w.newClient(), make(chan struct{}, 1)}
		w.serve(messages.AtConsole, first)
		first.send(":x", messages.ConsoleSubscribe{Count: messages.Some(0)})
		<-first.writing
		second := w.follow(":x", 0)
		require.IsType(t, messages.SuccessText{}, first.receive().Payload)
		first.requireDismissed(dismissal)
		require.NoError(t, second.Close())
	}
}

// dismissal is what a follower reads when another one has taken its place.
const dismissal = "at most 1 clients may follow a console, and a newer one has taken the place of this one"

// requireDismissed reads the reason why the daemon ends the subscription, and nothing else.
func (c *client) requireDismissed(why messages.Public) {
	c.w.t.Helper()
	m := c.receive()
	require.Equal(c.w.t, messages.Failure{Text: why}, m.Payload)
	require.Equal(c.w.t, int64(7), m.Header.Sequence)
	c.requireClosed()
}

// TestAFollowerIsToldWhyItIsDropped: it reads the reason after the lines that are being written, if
// there are any.
func TestAFollowerIsToldWhyItIsDropped(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.MaxSubscribers = 1 })
	idle := w.follow(":x", 0)
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	require.Contains(t, idle.line(), "hello")

	next := &slowClient{w.newClient(), make(chan struct{}, 9)}
	w.serve(messages.AtConsole, next)
	next.send(":x", messages.ConsoleSubscribe{Count: messages.Some(-1)})
	require.IsType(t, messages.SuccessText{}, next.receive().Payload)
	idle.requireDismissed(dismissal)

	<-next.writing
	<-next.writing // the daemon writes lines, and the client takes none
	last := w.follow(":x", 0)
	require.Contains(t, next.line(), "hello")
	next.requireDismissed(dismissal)
	require.NoError(t, last.Close())
}

// TestADroppedFollowerThatReadsNothing: the daemon does not wait for it.
func TestADroppedFollowerThatReadsNothing(t *testing.T) {
	due := make(chan func(), 9)
	w := newWorld(t, func(w *world) {
		w.config.MaxSubscribers = 1
		w.clock.AfterFunc = heldBack(20*time.Second, due)
	})
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	mute := &slowClient{w.newClient(), make(chan struct{}, 9)}
	w.serve(messages.AtConsole, mute)
	mute.send(":x", messages.ConsoleSubscribe{Count: messages.Some(-1)})
	mute.receive()
	<-mute.writing
	<-mute.writing
	last := w.follow(":x", 0)
	select {
	case tooLate := <-due:
		tooLate()
	case <-time.After(deadline):
		require.FailNow(t, "the daemon waits for it for ever")
	}
	mute.requireClosed()
	require.NoError(t, last.Close())
}

// TestAnswersToSessionsThatHaveEnded: a client may leave while its answer is on its way.
func TestAnswersToSessionsThatHaveEnded(t *testing.T) {
	for _, test := range []struct {
		endpoint messages.Endpoint
		command  messages.Command
		actor    string // that answers
		asked    func(message any) bool
	}{
		{messages.AtConsole, messages.ConsoleSubscribe{Count: messages.Some(0)}, "host#/console/:x#", is[messages.ConsoleAttach]},
		{messages.AtControl, messages.EventsSubscribe{}, "events#", is[messages.EventsAttach]},
		{messages.AtStats, messages.StatsSubscribe{}, "host#/stats#", is[messages.StatsAsk]},
		{messages.AtVMMD, messages.BlockSet{}, "host#/block/:x#", asks[messages.BlockSet]},
		{messages.AtVMMD, messages.BlockDump{}, "host#/block/:x#", asks[messages.BlockDump]},
	} {
		t.Run(string(test.endpoint), func(t *testing.T) {
			asked, gone, done := make(chan struct{}), make(chan struct{}), make(chan struct{}, 9)
			w := newWorld(t, withBlocks, func(w *world) {
				w.fault = func(actor string, message any) {
					ended, _ := message.(supervise.Terminated)
					switch test.actor {
					case digits.ReplaceAllString(ended.ID, "#"): // it has ended, since nobody needs it
						done <- struct{}{}
					case digits.ReplaceAllString(actor, "#"):
						if test.asked(message) {
							close(asked)
							<-gone
						} else if is[supervise.Undeliverable](message) {
							done <- struct{}{}
						}
					}
				}
			})
			w.succeeds("added block device", ":x", messages.BlockAdd{Size: 1})
			w.until("the actor of the block device has ended", func() bool { return w.system.Population()["block"].Actors == 0 })
			for len(done) > 0 {
				<-done
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			served := make(chan error)
			c := w.newClient()
			go func() { served <- w.actors.Serve(ctx, test.endpoint, c) }()
			c.send(":x", test.command)
			<-asked
			leave()
			require.NoError(t, <-served)
			close(gone)
			<-done
			system := w.system
			w.restart() // the actor has handled the message
			require.Zero(t, system.Bugs())
		})
	}
}

func is[M any](message any) bool {
	_, ok := message.(M)
	return ok
}

// asks reports whether a message asks a block device for that command.
func asks[C messages.Command](message any) bool {
	do, ok := message.(messages.BlockDo)
	return ok && is[C](do.Command)
}

// digits match what makes the names of actors unique.
var digits = regexp.MustCompile(`#\d+`)

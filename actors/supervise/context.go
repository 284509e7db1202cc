package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Context is what an actor acts through. It is valid during the calls of the
// Actor's methods only, and only on their goroutine. It has what is safe of
// protoactor's own context, and no more.
type Context struct {
	inner       actor.Context // of protoactor, for the message that is handled
	system      *System
	incarnation uint64
	over        bool // Stopping has been called
	unknown     map[string]bool

	tasks  context.Context // done when the incarnation has ended
	cancel context.CancelFunc

	mu      sync.Mutex
	next    uint64
	results map[uint64]any // delivered but not yet handled; nil when the incarnation has ended
	timers  map[uint64]func() bool
}

// A Discarder is a result that holds something which must be freed when nobody
// sees the result, or when whoever sees it fails. Discard may be called again,
// and after what is held has been freed.
type Discarder interface{ Discard() }

// delivery says that a result waits for its incarnation.
type delivery struct {
	incarnation uint64
	number      uint64
}

type taskPanic struct{ failure *failure }

func (c *Context) begin() {
	c.tasks, c.cancel = context.WithCancel(context.Background())
	c.results = map[uint64]any{}
	c.timers = map[uint64]func() bool{}
}

// Self returns the address of the actor.
func (c *Context) Self() *actor.PID { return c.inner.Self() }

// Sender returns who asked for the message that is handled; nil: it is no request.
func (c *Context) Sender() *actor.PID { return c.inner.Sender() }

// Respond answers the request that is handled.
func (c *Context) Respond(answer any) { c.inner.Respond(answer) }

// Send puts a message into the mailbox of an actor. Those to one actor arrive
// in the order in which they are sent.
func (c *Context) Send(to *actor.PID, message any) { c.inner.Send(to, message) }

// Request sends a message that is answered by another one.
func (c *Context) Request(to *actor.PID, message any) { c.inner.Request(to, message) }

// RequestFor sends a request whose answer goes to asker.
func (c *Context) RequestFor(asker, to *actor.PID, message any) {
	c.inner.RequestWithCustomSender(to, message, asker)
}

// Watch has Terminated handled when an actor has ended that is not a child: of
// children it is told anyway.
func (c *Context) Watch(who *actor.PID) { c.inner.Watch(who) }

// Stop ends an actor and its children, once it has handled the message that it
// is at. Requests that it has queued are answered by Undeliverable.
func (c *Context) Stop(who *actor.PID) { c.inner.Stop(who) }

// Log returns the logger of the system, with the name of the actor.
func (c *Context) Log() *slog.Logger { return c.system.log.With(slog.String("actor", c.Self().Id)) }

// Now returns the time.
func (c *Context) Now() time.Time { return c.system.clock.Now() }

// NewID returns what no request has been called before: an answer that an incarnation
// gets may be to a request of one before it.
func (c *Context) NewID() uint64 { return c.system.serial.Add(1) }

// Unknown is for messages that the actor has no case for: our own bug.
func (c *Context) Unknown(message any) {
	name := fmt.Sprintf("%T", message)
	if c.unknown[name] {
		return
	}
	if c.unknown == nil {
		c.unknown = map[string]bool{}
	}
	c.unknown[name] = true
	c.system.bug("message not understood", slog.String("actor", c.Self().Id), slog.String("message", name))
}

// Child starts a child; its name needs not be unique. A child that fails is
// restarted.
func (c *Context) Child(name string, producer func() Actor) *actor.PID {
	unique := c.system.unique(name)
	pid, err := c.inner.SpawnNamed(c.system.props(c.Self().Id+"/"+unique, name, producer, func() {}), unique)
	if err != nil {
		panic(fmt.Sprintf("cannot spawn %s: %v", name, err)) // names are unique
	}
	return pid
}

// Go runs task on a goroutine that ends before System.Shutdown does. Its
// context is done when the incarnation has ended. What it returns, if not nil,
// is handled as a message; where no incarnation is left to do that, a Discarder
// is discarded. A panic in the task is one of the actor.
func (c *Context) Go(task func(ctx context.Context) any) {
	tasks, pid, running := c.tasks, c.Self(), &c.system.running
	running.Add(1)
	go func() {
		defer running.Done()
		if result := protect(tasks, task); result != nil {
			c.deliver(pid, result)
		}
	}()
}

// protect turns a panic into a result.
func protect(ctx context.Context, task func(context.Context) any) (result any) {
	defer func() {
		if reason := recover(); reason != nil {
			result = taskPanic{asFailure(reason, "goroutine")}
		}
	}()
	return task(ctx)
}

// After has message handled after d, unless the incarnation has ended or the
// function that it returns is called before.
func (c *Context) After(d time.Duration, message any) (cancel func()) {
	pid := c.Self()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	number := c.next
	c.timers[number] = c.system.clock.AfterFunc(d, func() {
		if c.forgetTimer(number) {
			c.deliver(pid, message)
		}
	})
	return func() { c.cancelTimer(number) }
}

// forgetTimer reports whether the timer was still wanted.
func (c *Context) forgetTimer(number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, wanted := c.timers[number]
	delete(c.timers, number)
	return wanted
}

func (c *Context) cancelTimer(number uint64) {
	c.mu.Lock()
	stop := c.timers[number]
	delete(c.timers, number)
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// deliver keeps a result for the incarnation and wakes it. It is called on
// goroutines of the incarnation, possibly after its end.
func (c *Context) deliver(pid *actor.PID, result any) {
	c.mu.Lock()
	if c.results == nil {
		c.mu.Unlock()
		discard(result)
		return
	}
	c.next++
	c.results[c.next] = result
	wake := delivery{incarnation: c.incarnation, number: c.next}
	c.mu.Unlock()
	c.system.actors.Root.Send(pid, wake)
}

// take returns the result that d announces, if it is one of this incarnation.
func (c *Context) take(d delivery) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.incarnation != c.incarnation {
		return nil, false
	}
	result, ok := c.results[d.number]
	delete(c.results, d.number)
	return result, ok
}

// peek returns what take would be.
func (c *Context) peek(d delivery) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	result, ok := c.results[d.number]
	return result, ok && d.incarnation == c.incarnation
}

// finish ends the goroutines and timers of the incarnation and discards what
// they have delivered.
func (c *Context) finish() {
	c.cancel()
	c.mu.Lock()
	results, timers := c.results, c.timers
	c.results, c.timers = nil, nil
	c.mu.Unlock()
	for _, stop := range timers {
		stop()
	}
	for _, result := range results {
		discard(result)
	}
}

func discard(result any) {
	if d, ok := result.(Discarder); ok {
		d.Discard()
	}
}

// respond answers whoever asked, if it was a request, in the place of the actor:
// there will be no other answer.
func (c *Context) respond(asker *actor.PID, answer any) {
	if asker != nil {
		c.Send(asker, answer)
	}
}

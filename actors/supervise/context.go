package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Context offers an actor the safe part of protoactor's context. It is valid only
// during calls of the Actor's methods, on their goroutine.
type Context struct {
	inner       actor.Context // of protoactor, for the message being handled
	system      *System
	incarnation uint64
	over        bool // Stopping was called
	unknown     map[string]bool

	tasks  context.Context // done when the incarnation has ended
	cancel context.CancelFunc
	work   *work // its goroutines
	former *work // those of the incarnation before; nil: this is the first

	mu      sync.Mutex
	next    uint64
	results map[uint64]any // delivered but not yet handled; nil after the end of the incarnation
	timers  map[uint64]func() bool
}

// A Discarder is a result that holds something which must be freed if nobody handles the
// result, or if its handler fails. Discard may be called again, and after what is held
// has been freed.
type Discarder interface{ Discard() }

// delivery says that a result waits for its incarnation.
type delivery struct {
	incarnation uint64
	number      uint64
}

type taskPanic struct{ failure *failure }

// work is the goroutines of an incarnation and of its children.
type work struct {
	sync.WaitGroup
	parent *work // nil: the actor has no parent
}

func (w *work) begin() {
	for ; w != nil; w = w.parent {
		w.Add(1)
	}
}

func (w *work) end() {
	for ; w != nil; w = w.parent {
		w.Done()
	}
}

func (c *Context) begin() {
	c.tasks, c.cancel = context.WithCancel(context.Background())
	c.results = map[uint64]any{}
	c.timers = map[uint64]func() bool{}
}

// Self returns the address of the actor.
func (c *Context) Self() *actor.PID { return c.inner.Self() }

// Sender returns who sent the request being handled; nil: it is no request.
func (c *Context) Sender() *actor.PID { return c.inner.Sender() }

// Respond answers the request being handled.
func (c *Context) Respond(answer any) { c.inner.Respond(answer) }

// Send puts a message into the mailbox of an actor. Messages to one actor arrive in the
// order in which they are sent.
func (c *Context) Send(to *actor.PID, message any) { c.inner.Send(to, message) }

// Request sends a message that will be answered.
func (c *Context) Request(to *actor.PID, message any) { c.inner.Request(to, message) }

// RequestFor sends a request whose answer goes to asker.
func (c *Context) RequestFor(asker, to *actor.PID, message any) {
	c.inner.RequestWithCustomSender(to, message, asker)
}

// Watch makes the actor handle Terminated when another one has ended. For children this
// happens anyway.
func (c *Context) Watch(who *actor.PID) { c.inner.Watch(who) }

// Stop ends an actor and its children after the current message. Its queued requests are
// answered by Undeliverable.
func (c *Context) Stop(who *actor.PID) { c.inner.Stop(who) }

// Log returns the logger of the system, with the name of the actor.
func (c *Context) Log() *slog.Logger { return c.system.log.With(slog.String("actor", c.Self().Id)) }

// Now returns the time.
func (c *Context) Now() time.Time { return c.system.clock.Now() }

// NewID returns an ID that no request has had: an incarnation may get an answer to a
// request of the one before.
func (c *Context) NewID() uint64 { return c.system.serial.Add(1) }

// Unknown reports a message that the actor has no case for: our own bug.
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

// Child starts a child, which is restarted when it fails. Its name need not be unique.
func (c *Context) Child(name string, producer func() Actor) *actor.PID {
	unique := c.system.unique(name)
	pid, err := c.inner.SpawnNamed(c.system.props(c.Self().Id+"/"+unique, name, producer, c.work, func() {}), unique)
	if err != nil {
		panic(fmt.Sprintf("cannot spawn %s: %v", name, err)) // cannot happen: names are unique
	}
	return pid
}

// Go runs task on a goroutine that ends before System.Shutdown does. Its context is done
// when the incarnation has ended. The actor handles its result, if not nil, as a message;
// if the incarnation has ended, a Discarder is discarded. A panic in the task is one of
// the actor.
func (c *Context) Go(task func(ctx context.Context) any) {
	tasks, pid, running, work := c.tasks, c.Self(), &c.system.running, c.work
	running.Add(1)
	work.begin()
	go func() {
		defer running.Done()
		defer work.end()
		if result := protect(tasks, task); result != nil {
			c.deliver(pid, result)
		}
	}()
}

// AfterFormer makes the actor handle message once the goroutines of its former incarnation
// have ended, and those of its children. Until then they may still change what this
// incarnation is about to use.
func (c *Context) AfterFormer(message any) {
	former := c.former
	c.Go(func(context.Context) any {
		if former != nil {
			former.Wait()
		}
		return message
	})
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

// After makes the actor handle message after d, unless the incarnation has ended or
// cancel was called before.
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

// forgetTimer reports whether the timer was still active.
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

// deliver keeps a result for the incarnation and wakes it. Goroutines of the incarnation
// call it, possibly after its end.
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

// take removes and returns the result that d announces, if it belongs to this
// incarnation.
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

// peek returns the result of take without removing it.
func (c *Context) peek(d delivery) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	result, ok := c.results[d.number]
	return result, ok && d.incarnation == c.incarnation
}

// finish ends the goroutines and timers of the incarnation and discards what they have
// delivered.
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

// respond answers a request on behalf of the actor, which will not answer it any more.
func (c *Context) respond(asker *actor.PID, answer any) {
	if asker != nil {
		c.Send(asker, answer)
	}
}

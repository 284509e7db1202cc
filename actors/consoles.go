package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
)

// consoles are the console actors of the host. One outlives its unikernel: what
// it has printed last is the post-mortem. How many a path may keep is limited;
// the one that has been without a unikernel for longest goes first.
type consoles struct {
	config *Config
	store  *actor.PID
	byName map[messages.Name]*consoleEntry
	rings  map[messages.Path]map[messages.Name]*consoleEntry // those that have had a unikernel
}

type consoleEntry struct {
	pid      *actor.PID
	tenant   bool      // there is a unikernel
	ring     bool      // there has been one
	inactive time.Time // since when there is none
	attached int       // subscriptions ever passed on
	end      messages.Option[messages.End]
}

func newConsoles(config *Config, store *actor.PID) *consoles {
	return &consoles{config: config, store: store, byName: map[messages.Name]*consoleEntry{}, rings: map[messages.Path]map[messages.Name]*consoleEntry{}}
}

// forTenant is the console of a unikernel that is going to be.
func (k *consoles) forTenant(c *supervise.Context, name messages.Name, l *ledger.Ledger) *actor.PID {
	e := k.entry(c, name)
	e.tenant = true
	if !e.ring {
		e.ring = true
		k.remember(name, e)
		k.evict(c, name.Path, max(1, l.MaxUnikernels(name.Path)))
	}
	return e.pid
}

func (k *consoles) remember(name messages.Name, e *consoleEntry) {
	if k.rings[name.Path] == nil {
		k.rings[name.Path] = map[messages.Name]*consoleEntry{}
	}
	k.rings[name.Path][name] = e
}

// tenantGone keeps the console of a unikernel that is not there any more.
func (k *consoles) tenantGone(name messages.Name, now time.Time) {
	if e := k.byName[name]; e != nil {
		e.tenant = false
		e.inactive = now
	}
}

// ended keeps how the last run of a unikernel has ended, as long as its console.
func (k *consoles) ended(name messages.Name, end messages.Option[messages.End]) {
	if e := k.byName[name]; e != nil && end.OK {
		e.end = end
	}
}

// remain is the console of a unikernel that a former daemon has had.
func (k *consoles) remain(c *supervise.Context, past messages.NamedEnd) {
	e := k.entry(c, past.Name)
	e.ring = true
	e.inactive = time.UnixMilli(past.End.AtMillis)
	e.end = messages.Some(past.End)
	k.remember(past.Name, e)
}

// forSubscriber is the console that a client wants to read, whether there has
// ever been a unikernel or not.
func (k *consoles) forSubscriber(c *supervise.Context, name messages.Name) *actor.PID {
	e := k.entry(c, name)
	e.attached++
	return e.pid
}

func (k *consoles) entry(c *supervise.Context, name messages.Name) *consoleEntry {
	if e := k.byName[name]; e != nil {
		return e
	}
	host, config, again := c.Self(), k.config, false
	e := &consoleEntry{pid: c.Child("console/"+name.String(), func() supervise.Actor {
		actor := &console{
			name: name, fifo: fifo.Path(config.FIFODir, name),
			host: host, history: config.History, maxSubscribers: config.MaxSubscribers, again: again,
		}
		again = true
		return actor
	})}
	k.byName[name] = e
	return e
}

// idle ends a console that nobody reads and that has nothing to tell.
func (k *consoles) idle(c *supervise.Context, m messages.ConsoleIdle) {
	e := k.byName[m.Name]
	if e == nil || e.ring || e.attached != m.Attached {
		return
	}
	k.remove(c, m.Name)
}

// evict ends consoles at a path until there are no more than limit, or no more
// without a unikernel.
func (k *consoles) evict(c *supervise.Context, path messages.Path, limit int) {
	for len(k.rings[path]) > limit {
		oldest, ok := k.longestInactive(path)
		if !ok {
			return
		}
		k.remove(c, oldest)
	}
}

func (k *consoles) longestInactive(path messages.Path) (oldest messages.Name, ok bool) {
	for n, e := range k.rings[path] {
		if !e.tenant && (!ok || e.inactive.Before(k.byName[oldest].inactive)) {
			oldest, ok = n, true
		}
	}
	return oldest, ok
}

func (k *consoles) remove(c *supervise.Context, name messages.Name) {
	e := k.byName[name]
	delete(k.byName, name)
	delete(k.rings[name.Path], name)
	if len(k.rings[name.Path]) == 0 {
		delete(k.rings, name.Path)
	}
	c.Stop(e.pid)
	k.forget(c, name)
	if e.end.OK {
		c.Send(k.store, messages.StoreWrite{Changes: []messages.Change{messages.DeleteEnd{Name: name}}})
	}
}

// forget removes the history of a console that was stopped. One of the same name
// that is made from now on has none, though it may be in use before this is done.
func (k *consoles) forget(c *supervise.Context, name messages.Name) {
	remove, log := k.config.History.Remove(name), c.Log()
	c.Go(func(context.Context) any {
		if err := remove(); err != nil {
			log.Error("Cannot forget a console", "error", err)
		}
		return nil
	})
}

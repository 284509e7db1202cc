package host

import (
	"context"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/console"
	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/messages"
)

// consoles are the host's console actors. A console outlives its unikernel, to show its
// last lines. Each path may have a limited number of them; the one without a unikernel
// for longest is removed first. Those of other daemons have a limit of their own, so that
// they cannot displace ours.
type consoles struct {
	config    *Config
	store     *actor.PID
	byName    map[messages.Name]*consoleEntry
	histories map[messages.Path]map[messages.Name]*consoleEntry // with a history
}

type consoleEntry struct {
	pid      *actor.PID
	ours     bool      // there is a unikernel, or will be
	theirs   bool      // there is one of another daemon
	history  bool      // of what unikernels have printed
	foreign  bool      // of another daemon's unikernel
	inactive time.Time // since when there is no unikernel
	passed   uint64    // numbered messages ever sent; see messages.ConsoleIdle
	end      messages.Option[messages.End]
}

// inUse reports whether there is a unikernel.
func (c *consoleEntry) inUse() bool { return c.ours || c.theirs }

func newConsoles(config *Config, store *actor.PID) *consoles {
	return &consoles{config: config, store: store, byName: map[messages.Name]*consoleEntry{}, histories: map[messages.Path]map[messages.Name]*consoleEntry{}}
}

// forUnikernel returns the console of a unikernel that is about to be created.
func (k *consoles) forUnikernel(c *supervise.Context, name messages.Name) *actor.PID {
	e := k.entry(c, name)
	e.ours = true
	return e.pid
}

// begin notes the start of a unikernel of ours, which replaces any other.
func (k *consoles) begin(c *supervise.Context, name messages.Name, l *ledger.Ledger) {
	e := k.byName[name]
	e.theirs = false
	k.beginHistory(c, name, false, l.MaxUnikernels(name.Path))
}

// beginHistory keeps the history of a console, at the cost of others.
func (k *consoles) beginHistory(c *supervise.Context, name messages.Name, foreign bool, limit int) {
	e := k.byName[name]
	known := e.history && e.foreign == foreign
	e.history, e.foreign = true, foreign
	k.remember(name, e)
	if !known {
		k.evict(c, name.Path, foreign, max(1, limit))
	}
}

func (k *consoles) remember(name messages.Name, e *consoleEntry) {
	if k.histories[name.Path] == nil {
		k.histories[name.Path] = map[messages.Name]*consoleEntry{}
	}
	k.histories[name.Path][name] = e
}

// unikernelGone keeps the console of a unikernel that is gone, if that ever ran.
func (k *consoles) unikernelGone(c *supervise.Context, name messages.Name) {
	e := k.byName[name]
	if e == nil {
		return
	}
	e.ours, e.inactive = false, c.Now()
	if !e.history {
		k.probe(c, e)
	}
}

// probeIdle probes consoles that may have become idle before the host knew what is on
// record.
func (k *consoles) probeIdle(c *supervise.Context) {
	for _, e := range k.byName {
		if !e.history {
			k.probe(c, e)
		}
	}
}

func (k *consoles) probe(c *supervise.Context, e *consoleEntry) {
	e.passed++
	c.Send(e.pid, messages.ConsoleProbe{Number: e.passed})
}

// ended keeps how the last run of a unikernel has ended, as long as its console.
func (k *consoles) ended(name messages.Name, end messages.Option[messages.End]) {
	if e := k.byName[name]; e != nil && end.OK {
		e.end = end
	}
}

// remain keeps the console of a unikernel of a former daemon.
func (k *consoles) remain(c *supervise.Context, past messages.NamedEnd) {
	e := k.entry(c, past.Name)
	e.history = true
	e.inactive = past.End.Known()
	e.end = messages.Some(past.End)
	k.remember(past.Name, e)
}

// forSubscriber returns the console for a client, whether there was ever a unikernel or
// not, and the number of the message to it.
func (k *consoles) forSubscriber(c *supervise.Context, name messages.Name) (console *actor.PID, number uint64) {
	e := k.entry(c, name)
	e.passed++
	return e.pid, e.passed
}

// adopt makes a console read the FIFO of another daemon. The asker, if there is one, gets
// the answer.
func (k *consoles) adopt(c *supervise.Context, name messages.Name, limit int, asker supervise.Asker) {
	e := k.entry(c, name)
	e.passed++
	m := messages.ConsoleAdopt{ID: asker.ID, Number: e.passed, Limit: limit}
	c.RequestFor(asker.PID, e.pid, m)
}

// adopted notes the start of a unikernel of another daemon.
func (k *consoles) adopted(c *supervise.Context, m messages.ConsoleAdopted) {
	e := k.byName[m.Name]
	if e == nil || e.ours && e.history && !e.foreign {
		return // one of ours has come first
	}
	e.theirs = true
	k.beginHistory(c, m.Name, true, m.Limit)
}

// foreignGone keeps the console of a unikernel of another daemon that is gone.
func (k *consoles) foreignGone(name messages.Name, now time.Time) {
	if e := k.byName[name]; e != nil && e.theirs {
		e.theirs, e.inactive = false, now
	}
}

// restarted makes a restarted console continue what only the host knows: that it read the
// FIFO of another daemon, or may be idle.
func (k *consoles) restarted(c *supervise.Context, name messages.Name) {
	e := k.byName[name]
	switch {
	case e == nil:
	case e.theirs:
		k.adopt(c, name, messages.MaxInt, supervise.Asker{})
	default:
		k.probe(c, e)
	}
}

// inactive returns the consoles at and below a path without a unikernel, in the order of
// listings.
func (k *consoles) inactive(path messages.Name) (list []messages.Name) {
	for n, e := range k.byName {
		if e.history && !e.inUse() && path.Covers(n) {
			list = append(list, path.Relative(n))
		}
	}
	slices.SortFunc(list, messages.Name.Compare)
	return list
}

func (k *consoles) entry(c *supervise.Context, name messages.Name) *consoleEntry {
	if e := k.byName[name]; e != nil {
		return e
	}
	e := &consoleEntry{pid: c.Child("console/"+name.String(), k.config.Console(console.Config{
		Name: name, FIFO: k.config.Machine.Console(name), Output: k.config.Machine.OpenConsole, Host: c.Self(),
		History: k.config.History, MaxSubscribers: k.config.MaxSubscribers,
	}))}
	k.byName[name] = e
	return e
}

// idle removes a console without readers and without a history.
func (k *consoles) idle(c *supervise.Context, m messages.ConsoleIdle) {
	e := k.byName[m.Name]
	if e == nil || e.history || e.ours || e.passed != m.Heard {
		return
	}
	k.remove(c, m.Name)
}

// evict removes consoles without a unikernel at a path until there are at most limit: of
// ours, or of those of other daemons.
func (k *consoles) evict(c *supervise.Context, path messages.Path, foreign bool, limit int) {
	if len(k.histories[path]) <= limit {
		return
	}
	var inactive []messages.Name
	count := 0
	for n, e := range k.histories[path] {
		if e.foreign != foreign {
			continue
		}
		count++
		if !e.inUse() {
			inactive = append(inactive, n)
		}
	}
	slices.SortFunc(inactive, func(a, b messages.Name) int { return k.byName[a].inactive.Compare(k.byName[b].inactive) })
	for _, oldest := range inactive[:min(len(inactive), max(0, count-limit))] {
		k.remove(c, oldest)
	}
}

func (k *consoles) remove(c *supervise.Context, name messages.Name) {
	e := k.byName[name]
	delete(k.byName, name)
	delete(k.histories[name.Path], name)
	if len(k.histories[name.Path]) == 0 {
		delete(k.histories, name.Path)
	}
	c.Stop(e.pid)
	k.forget(c, name)
	if e.end.OK {
		c.Send(k.store, messages.StoreWrite{Changes: []messages.Change{messages.DeleteEnd{Name: name}}})
	}
}

// forget removes the history of a console that was stopped. A new console of the same
// name has no history, even if it is used before this is done.
func (k *consoles) forget(c *supervise.Context, name messages.Name) {
	remove, log := k.config.History.Remove(name), c.Log()
	c.Go(func(context.Context) any {
		if err := remove(); err != nil {
			log.Error("Cannot forget a console", "error", err)
		}
		return nil
	})
}

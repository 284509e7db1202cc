// Package stats is the collector of statistics. It owns the tick, the list of what is
// measured, the subscribers, and the connection to a native collector.
package stats

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/sample"
)

// The stats actor collects statistics: it owns the tick, what is measured, and who
// gets it. All targets are measured in one pass, and one pass is under way at a
// time. Nothing is measured where nobody wants to know. What a subscriber gets is
// the same for all and is kept nowhere: whoever is too slow misses ticks.
type stats struct {
	host     *actor.PID
	interval time.Duration // between ticks
	again    bool          // an incarnation of this collector has failed before

	sampler *sample.Sampler
	watched map[messages.Name]messages.Target // unikernels that run
	added   map[messages.Name]messages.Target // what clients have added
	adders  adders
	readers readers
	link    *link // to a native collector; nil: there is none

	ticking   bool              // a tick will be due
	due       bool              // one is, and waits for the pass under way to end
	measuring bool              // a pass is under way
	forTick   bool              // it is that of a tick
	serving   []supervise.Asker // wait for it to end
	waiting   []supervise.Asker // wait for the next one: what they get is to be fresh
}

// What the collector's goroutines and timers tell it.
type (
	tickDue  struct{}
	measured struct{ pass sample.Pass }
)

// New returns the maker of the collector of statistics, which measures once in an
// interval.
func New(host *actor.PID, interval time.Duration) func() supervise.Actor {
	again := false
	return func() supervise.Actor {
		s := newStats(host, interval, again)
		again = true
		return s
	}
}

func newStats(host *actor.PID, interval time.Duration, again bool) *stats {
	return &stats{
		host: host, interval: interval, again: again,
		sampler: sample.New(),
		watched: map[messages.Name]messages.Target{},
		added:   map[messages.Name]messages.Target{},
		adders:  adders{byNumber: map[uint64]supervise.Asker{}},
		readers: readers{},
	}
}

// Started asks what runs, where this is not known.
func (s *stats) Started(c *supervise.Context) {
	if s.again {
		c.Send(s.host, messages.StatsRestarted{})
	}
}

func (s *stats) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.StatsWatch:
		s.watch(c, m.Target)
	case messages.StatsForget:
		s.forget(c, m.Name)
	case messages.StatsAsk:
		s.asked(c, m)
	case found:
		s.found(c, m)
	case messages.StatsMore:
		s.readers.more(c.Sender())
	case messages.StatsTold:
		s.told(c)
	case messages.StatsSnapshot:
		s.waiting = append(s.waiting, supervise.Asker{PID: c.Sender(), ID: m.ID})
		s.measure(c)
	case supervise.Terminated:
		s.left(m.ID)
	case supervise.Undeliverable: // to a session that has just ended: Terminated tells
	case tickDue:
		s.tick(c)
	case measured:
		s.measured(c, m.pass)
	default:
		c.Unknown(message)
	}
}

// Stopping tells everybody that there will be nothing more. What clients have
// added is forgotten.
func (s *stats) Stopping(c *supervise.Context, _ bool) {
	const text = "internal error: the collector of statistics has ended; try again"
	for _, a := range s.adders.byNumber {
		c.Send(a.PID, messages.Answer{ID: a.ID, Payload: messages.Failure{Text: text}})
	}
	for _, a := range append(s.serving, s.waiting...) {
		c.Send(a.PID, messages.StatsSnapshotTaken{ID: a.ID, Err: text})
	}
	for _, r := range s.readers {
		c.Send(r.pid, messages.StatsDetached{})
	}
	s.unlink(c)
	sampler := s.sampler
	c.Go(func(context.Context) any { sampler.Close(); return nil })
}

// watch measures a unikernel from now on. What a client has added under its name
// makes way.
func (s *stats) watch(c *supervise.Context, target messages.Target) {
	delete(s.added, target.Name)
	s.watched[target.Name] = target
	s.changed(c, target.Name)
}

func (s *stats) forget(c *supervise.Context, name messages.Name) {
	delete(s.watched, name)
	s.changed(c, name)
}

// left forgets a session that has ended.
func (s *stats) left(session string) {
	delete(s.readers, session)
	if s.link != nil && s.link.pid.Id == session {
		s.link = nil
	}
}

// tickLater has a tick be due, as long as somebody wants to know, or clients
// have added what may be gone.
func (s *stats) tickLater(c *supervise.Context) {
	if s.ticking || len(s.readers) == 0 && len(s.added) == 0 {
		return
	}
	s.ticking = true
	c.After(s.interval, tickDue{})
}

// tick measures, unless that takes longer than from one tick to the next.
func (s *stats) tick(c *supervise.Context) {
	s.ticking = false
	s.tickLater(c)
	if s.measuring && s.forTick {
		c.Log().Warn("Statistics take too long, and a tick is skipped")
		return
	}
	s.due = true
	s.measure(c)
}

// measure begins a pass, if it is wanted and none is under way.
func (s *stats) measure(c *supervise.Context) {
	if s.measuring || !s.due && len(s.waiting) == 0 {
		return
	}
	s.measuring = true
	s.forTick, s.due = s.due, false
	s.serving, s.waiting = s.waiting, nil
	targets := make([]messages.Target, 0, len(s.watched)+len(s.added))
	for _, t := range s.watched {
		targets = append(targets, t)
	}
	for _, t := range s.added {
		targets = append(targets, t)
	}
	sampler, blockIO := s.sampler, len(s.serving) > 0
	c.Go(func(context.Context) any { return measured{sampler.Take(targets, blockIO)} })
}

// measured tells whoever has waited for a pass, and begins the next one where
// that is wanted.
func (s *stats) measured(c *supervise.Context, pass sample.Pass) {
	s.measuring = false
	if pass.Err != nil {
		c.Log().Error("Cannot measure all unikernels", "error", pass.Err)
	}
	for _, t := range pass.Gone {
		if s.added[t.Name].Process == t.Process {
			delete(s.added, t.Name)
		}
	}
	for _, a := range s.serving {
		c.Send(a.PID, messages.StatsSnapshotTaken{ID: a.ID, Samples: pass.Samples})
	}
	s.serving = nil
	if s.forTick {
		s.readers.give(c, pass.Samples)
	}
	s.measure(c)
}

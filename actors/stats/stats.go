// Package stats is the collector of statistics. It owns the tick, the list of what is
// measured, the subscribers, and the connection to a native collector.
package stats

import (
	"context"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/sample"
)

// The stats actor collects statistics: it owns the tick, the targets, and the
// subscribers. It measures all targets in one pass, and makes one pass at a time. Without
// a subscriber or a scrape it measures nothing. All subscribers share the samples of a
// tick, which are kept nowhere: a slow one misses ticks.
type stats struct {
	host     *actor.PID
	interval time.Duration // between ticks
	again    bool          // an incarnation of this collector has failed before

	sampler     *sample.Sampler
	watched     map[messages.Name]messages.Target // running unikernels
	added       map[messages.Name]messages.Target // by clients
	adders      adders
	subscribers subscribers
	native      *nativeLink // to a native collector; nil: none

	ticking   bool          // a tick is scheduled
	due       bool          // a tick waits for the pass under way
	measuring bool          // a pass is under way
	forTick   bool          // that pass is for a tick
	serving   []snapshotAsk // wait for its end
	waiting   []snapshotAsk // wait for the next one, since their samples must be fresh
}

// A snapshotAsk is a request for fresh samples.
type snapshotAsk struct {
	supervise.Asker
	only []messages.Name // nil: all targets
}

// The messages of the collector's own goroutines and timers.
type (
	tickDue  struct{}
	measured struct{ pass sample.Pass }
)

// New returns the constructor of the collector, which measures at this interval.
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
		sampler:     sample.New(),
		watched:     map[messages.Name]messages.Target{},
		added:       map[messages.Name]messages.Target{},
		adders:      adders{byNumber: map[uint64]supervise.Asker{}},
		subscribers: subscribers{},
	}
}

// Started asks the host what runs, after a failure.
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
	case messages.More:
		s.moreAsked(c)
	case messages.StatsSnapshot:
		s.waiting = append(s.waiting, snapshotAsk{supervise.Asker{PID: c.Sender(), ID: m.ID}, m.Only})
		s.measure(c)
	case supervise.Terminated:
		s.left(m.ID)
	case supervise.Undeliverable: // to a session that has just ended: Terminated follows
	case tickDue:
		s.tick(c)
	case measured:
		s.measured(c, m.pass)
	default:
		c.Unknown(message)
	}
}

// Stopping detaches all subscribers. What clients have added is lost.
func (s *stats) Stopping(c *supervise.Context, _ bool) {
	const text = "internal error: the collector of statistics has ended; try again"
	for _, a := range s.adders.byNumber {
		c.Send(a.PID, messages.Answer{ID: a.ID, Payload: messages.Failure{Text: text}})
	}
	for _, a := range slices.Concat(s.serving, s.waiting) {
		c.Send(a.PID, messages.StatsSnapshotTaken{ID: a.ID, Err: text})
	}
	for _, r := range s.subscribers {
		c.Send(r.pid, messages.Detached{Reason: text})
	}
	s.disconnectNative(c)
	sampler := s.sampler
	c.Go(func(context.Context) any { sampler.Close(); return nil })
}

// watch measures a unikernel from now on, in place of what a client has added under its
// name.
func (s *stats) watch(c *supervise.Context, target messages.Target) {
	delete(s.added, target.Name)
	s.watched[target.Name] = target
	s.changed(c, target.Name)
}

func (s *stats) forget(c *supervise.Context, name messages.Name) {
	delete(s.watched, name)
	s.changed(c, name)
}

// left removes a session that has ended.
func (s *stats) left(session string) {
	delete(s.subscribers, session)
	if s.native != nil && s.native.pid.Id == session {
		s.native = nil
	}
}

// tickLater schedules a tick if there are subscribers, or processes of clients, which may
// have ended.
func (s *stats) tickLater(c *supervise.Context) {
	if s.ticking || len(s.subscribers) == 0 && len(s.added) == 0 {
		return
	}
	s.ticking = true
	c.After(s.interval, tickDue{})
}

// tick measures, unless the measurement of the former tick is still under way.
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

// measure begins a pass, if one is wanted and none is under way.
func (s *stats) measure(c *supervise.Context) {
	if s.measuring || !s.due && len(s.waiting) == 0 {
		return
	}
	s.measuring = true
	s.forTick, s.due = s.due, false
	s.serving, s.waiting = s.waiting, nil
	blockIO := slices.ContainsFunc(s.serving, func(a snapshotAsk) bool { return a.only == nil })
	var targets []messages.Target
	if s.forTick || blockIO {
		targets = s.all()
	} else {
		targets = s.wanted()
	}
	sampler := s.sampler
	c.Go(func(context.Context) any { return measured{sampler.Take(targets, blockIO)} })
}

// all returns all targets.
func (s *stats) all() []messages.Target {
	targets := make([]messages.Target, 0, len(s.watched)+len(s.added))
	for _, t := range s.watched {
		targets = append(targets, t)
	}
	for _, t := range s.added {
		targets = append(targets, t)
	}
	return targets
}

// wanted returns the unikernels that the pass under way is for.
func (s *stats) wanted() (targets []messages.Target) {
	taken := map[messages.Name]bool{}
	for _, a := range s.serving {
		for _, name := range a.only {
			if t, runs := s.watched[name]; runs && !taken[name] {
				taken[name] = true
				targets = append(targets, t)
			}
		}
	}
	return targets
}

// measured passes on the result of a pass, and begins the next one if that is wanted.
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
		s.subscribers.give(c, pass.Samples)
	}
	s.measure(c)
}

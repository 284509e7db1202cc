// Package store alone writes the database: what it answers is on disk.
package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	storage "albatross/runtime/store"
)

// maxBatch bounds how many writes share one commit, and so how long the first of them
// waits.
const maxBatch = 256

// A DB is the database. storage.DB is one.
type DB interface {
	Apply([]messages.Change) error
	Load() (messages.State, error)
	LoadUnikernel(messages.Name) ([]messages.Record, error)
	LastEvent() (uint64, error)
	Room() error
	InPlace() error
}

// A store owns the database. Writes that come during a commit share the next one, so that
// many changes at once cost few fsyncs.
type store struct {
	db     DB
	meter  *meter.Meter
	events *actor.PID // gets the number of the last stored event
	last   *lastCommit
	held   bool // the commit of a failed incarnation is under way

	accepted   uint64  // writes ever
	done       uint64  // the number of the newest one that was answered
	pending    []write // in the order they came
	committing []write // the commit under way
	since      time.Time
	lastMillis int64             // time of the last event as stored, in Unix time
	waiting    []load            // for the writes in front of them
	loading    []load            // under way
	unstored   []messages.Change // events that nobody else would try again to store
	failing    supervise.Trouble // writes that nobody waits for
	full       supervise.Trouble
	away       supervise.Trouble // the file is not where the next start looks for it
}

// lookForFileEvery is how often the idle store checks that its file is in its place.
const lookForFileEvery = 10 * time.Second

// maxUnstored bounds the events that wait for a disk to work again.
const maxUnstored = 1000

// A lastCommit is shared by all incarnations: a commit goes on when its incarnation fails, and the
// next one answers those who wait for it. Otherwise they would ask again for what is stored.
type lastCommit struct {
	ended  chan struct{} // nil: none has begun that was not answered
	writes []write
	result committed // when it has ended
}

// A load waits for records.
type load struct {
	pid    *actor.PID
	asked  messages.StoreLoad
	behind uint64 // the number of the write in front of it
}

// A write waits for its changes to be on disk.
type write struct {
	number  uint64     // 0: one of those before, again
	pid     *actor.PID // nil: nobody waits
	id      uint64
	changes []messages.Change
}

func (w write) answer(c *supervise.Context, err error) {
	if w.pid != nil {
		c.Send(w.pid, messages.StoreWritten{ID: w.id, Err: c.Public(err), Refused: errors.Is(err, storage.ErrNoRoom) || errors.Is(err, storage.ErrAway)})
	}
}

// The messages of the store's own goroutines.
type (
	committed struct {
		errs   []error // one for each write
		room   error   // why nothing new can be stored
		place  inPlace
		newest newest // zero if no events were stored
	}
	formerDone    struct{}
	retryUnstored struct{}
	lookForFile   struct{}
	inPlace       struct{ err error }
	newest        struct {
		event uint64
		err   error
	}
	loaded struct {
		load  load
		state messages.State
		err   error
	}
)

// New returns the constructor of the actor that owns db. It announces stored events to events.
func New(db DB, meter *meter.Meter, events *actor.PID) func() supervise.Actor {
	last := &lastCommit{}
	return func() supervise.Actor { return &store{db: db, meter: meter, events: events, last: last} }
}

// Started waits for the commit of a failed incarnation, which must not follow a newer one.
// Then it announces events that a former incarnation may have stored without doing so.
func (s *store) Started(c *supervise.Context) {
	c.After(lookForFileEvery, lookForFile{})
	ended := s.last.ended
	if ended == nil {
		c.Go(func(context.Context) any { return s.newest() })
		return
	}
	s.held = true
	c.Go(func(context.Context) any { <-ended; return formerDone{} })
}

func (s *store) formerDone(c *supervise.Context) {
	s.held = false
	s.committing = s.last.writes
	for i := range s.committing {
		s.committing[i].number = 0 // another incarnation has counted them
	}
	s.answer(c, s.last.result)
	c.Go(func(context.Context) any { return s.newest() })
	s.commit(c)
	s.load(c)
}

func (s *store) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.StoreWrite:
		s.accepted++
		s.pending = append(s.pending, write{s.accepted, c.Sender(), m.ID, m.Changes})
		s.commit(c)
	case messages.StoreLoad:
		s.waiting = append(s.waiting, load{c.Sender(), m, s.accepted})
		s.load(c)
	case committed:
		s.answer(c, m)
		s.commit(c)
		s.load(c)
	case formerDone:
		s.formerDone(c)
	case retryUnstored:
		s.commit(c)
	case lookForFile:
		c.Go(func(context.Context) any { return inPlace{s.db.InPlace()} })
		c.After(lookForFileEvery, lookForFile{})
	case inPlace:
		s.noteAway(c, m)
	case loaded:
		s.loaded(c, m)
	case newest:
		s.announce(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping answers everybody whose commit is not under way, so that nobody takes a change for stored
// that is not. If no incarnation follows, one that is under way may be stored all the same.
func (s *store) Stopping(c *supervise.Context, again bool) {
	unstored := s.pending
	if !again {
		unstored = append(s.committing, unstored...)
	}
	for _, w := range unstored {
		w.answer(c, errors.New(messages.StoreFailed))
	}
	for _, l := range append(s.waiting, s.loading...) {
		c.Send(l.pid, messages.StoreLoaded{ID: l.asked.ID, Err: messages.StoreFailed})
	}
}

// commit writes what is pending, unless a commit is under way. Events that could not be
// stored precede newer ones.
func (s *store) commit(c *supervise.Context) {
	if s.held || len(s.committing) > 0 {
		return
	}
	if len(s.unstored) > 0 {
		s.pending = append([]write{{changes: s.unstored}}, s.pending...)
		s.unstored = nil
	}
	if len(s.pending) == 0 {
		return
	}
	n := min(len(s.pending), maxBatch)
	s.committing, s.pending = s.pending[:n:n], s.pending[n:]
	writes := s.committing
	s.since = c.Now()
	s.order(writes, s.since.UnixMilli())
	last := s.last
	ended := make(chan struct{})
	last.ended, last.writes = ended, writes
	last.result = committed{errs: slices.Repeat([]error{errors.New(messages.StoreFailed)}, len(writes))} // should it panic
	c.Go(func(context.Context) any {
		defer close(ended)
		m := committed{errs: apply(s.db, writes)}
		m.room = s.db.Room()
		m.place = inPlace{s.db.InPlace()}
		if slices.Contains(m.errs, nil) && slices.ContainsFunc(writes, hasEvent) {
			m.newest = s.newest()
		}
		last.result = m
		return m
	})
}

// apply applies the changes of all writes at once. If that fails, one write may be the
// reason, or all may be too much for the disk: so it tries each.
func apply(db DB, writes []write) []error {
	var all []messages.Change
	for _, w := range writes {
		all = append(all, w.changes...)
	}
	err := db.Apply(all)
	if err != nil && len(writes) > 1 && !errors.Is(err, unix.EIO) {
		return applyEach(db, writes)
	}
	return slices.Repeat([]error{err}, len(writes))
}

// applyEach applies one write after the other. The events of one that nobody waits for, and that fails,
// come with the next one: if they came after it, they would contradict it.
func applyEach(db DB, writes []write) []error {
	errs := make([]error, len(writes))
	var late []messages.Change
	first := 0 // of the writes whose events are late
	for i, w := range writes {
		errs[i] = db.Apply(slices.Concat(late, w.changes))
		switch {
		case errs[i] == nil:
			for j := first; j < i; j++ {
				if writes[j].pid == nil {
					errs[j] = nil
				}
			}
			late, first = nil, i+1
		case w.pid == nil:
			late = append(late, eventsOf(w.changes)...)
		}
	}
	return errs
}

func hasEvent(w write) bool { return slices.ContainsFunc(w.changes, isEvent) }

// order makes sure that no event is older than its predecessors: it is stored a moment
// after it has happened, and others may be faster. This does not hold after the clock was
// set back.
func (s *store) order(writes []write, now int64) {
	for i, w := range writes {
		writes[i].changes = slices.Clone(w.changes)
		for j, change := range w.changes {
			if put, ok := change.(messages.PutEvent); ok {
				writes[i].changes[j] = s.inOrder(put, now)
			}
		}
	}
}

func (s *store) inOrder(put messages.PutEvent, now int64) messages.PutEvent {
	if s.lastMillis <= now {
		put.Event.AtMillis = max(put.Event.AtMillis, s.lastMillis)
	}
	s.lastMillis = put.Event.AtMillis
	return put
}

func isEvent(change messages.Change) bool {
	_, ok := change.(messages.PutEvent)
	return ok
}

// eventsOf returns the events of changes.
func eventsOf(changes []messages.Change) []messages.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c messages.Change) bool { return !isEvent(c) })
}

func (s *store) newest() newest {
	event, err := s.db.LastEvent()
	return newest{event, err}
}

// announce sends the events actor the number of the last new event.
func (s *store) announce(c *supervise.Context, n newest) {
	switch {
	case n.err != nil:
		c.Log().Error("Cannot tell of new events", "error", n.err)
	case n.event > 0:
		c.Send(s.events, messages.EventsStored{Last: n.event})
	}
}

func (s *store) answer(c *supervise.Context, m committed) {
	s.meter.Committed(c.Now().Sub(s.since), errors.Join(m.errs...))
	var unwaited error
	for i, w := range s.committing {
		s.done = max(s.done, w.number)
		w.answer(c, m.errs[i])
		if w.pid == nil && m.errs[i] != nil {
			unwaited = m.errs[i]
			s.keep(w.changes)
		}
	}
	s.committing, s.last.ended, s.last.writes = nil, nil, nil
	s.failing.Note(c, "Cannot store what has happened, but will try again", unwaited)
	s.noteAway(c, m.place)
	s.full.Note(c, "The disk is full: what exists goes on, and nothing new can be stored", m.room)
	if len(s.unstored) > 0 {
		c.After(supervise.RetryAfter, retryUnstored{})
	}
	s.announce(c, m.newest)
}

func (s *store) noteAway(c *supervise.Context, m inPlace) {
	s.away.Note(c, "Nothing is stored: the database is not where the next start looks for it", m.err)
}

// keep keeps the events of a write that nobody waits for, to store them later, the newest
// if there are too many. Other changes in it may no longer be valid.
func (s *store) keep(changes []messages.Change) {
	s.unstored = append(s.unstored, eventsOf(changes)...)
	s.unstored = s.unstored[max(0, len(s.unstored)-maxUnstored):]
}

// load begins the loads that have no write in front of them: each sees all writes that
// were asked for before it.
func (s *store) load(c *supervise.Context) {
	if s.held {
		return
	}
	n := 0
	for n < len(s.waiting) && s.waiting[n].behind <= s.done {
		s.read(c, s.waiting[n])
		n++
	}
	s.waiting = s.waiting[n:]
}

func (s *store) read(c *supervise.Context, l load) {
	s.loading = append(s.loading, l)
	c.Go(func(context.Context) any {
		if l.asked.Only.OK {
			list, err := s.db.LoadUnikernel(l.asked.Only.Value)
			return loaded{l, messages.State{Unikernels: list}, err}
		}
		state, err := s.db.Load()
		return loaded{l, state, err}
	})
}

func (s *store) loaded(c *supervise.Context, m loaded) {
	s.loading = slices.DeleteFunc(s.loading, func(l load) bool { return l == m.load })
	c.Send(m.load.pid, messages.StoreLoaded{ID: m.load.asked.ID, State: m.state, Err: c.Public(m.err)})
}

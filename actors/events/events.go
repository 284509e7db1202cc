// Package events sends subscribers the events that are stored. It owns their list; the
// database is their queue.
package events

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/store"
)

const (
	// maxSubscribers is how many clients may follow events: each costs a read of the
	// database for every event.
	maxSubscribers = 256
	// batchEvents is how many events a subscriber gets at once.
	batchEvents = 256
)

// The events actor owns the subscribers of events. The database is the only queue: a
// subscriber is the number of its next event, so that it gets every event once, and costs
// nothing while it does not read. One batch per subscriber is under way.
type events struct {
	db *store.DB

	last        uint64 // the newest known event
	attaching   []attacher
	subscribers []*subscriber
}

// An attacher is a session that is going to follow.
type attacher struct {
	pid *actor.PID
	ask messages.EventsAttach
}

// A subscriber is a session that receives the events of a name.
type subscriber struct {
	pid         *actor.PID
	name        messages.Name
	next        uint64 // number of the event it gets next
	present     uint64 // number of the last event from before it came
	presentSent bool   // it has the mark that follows that event
	credit      bool   // it has given More
	reading     bool   // a batch for it is being read
}

// The messages of the events actor's own goroutines.
type (
	eventsFound struct {
		attacher    attacher
		first, last uint64
		err         error
	}
	eventsRead struct {
		subscriber string // the ID of its PID
		batch      messages.EventBatch
		next       uint64
		err        error
	}
)

// New returns the constructor of the actor that sends subscribers the events in db.
func New(db *store.DB) func() supervise.Actor {
	return func() supervise.Actor { return &events{db: db} }
}

func (e *events) Started(*supervise.Context) {}

func (e *events) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.EventsAttach:
		e.attachAsked(c, m)
	case eventsFound:
		e.found(c, m)
	case messages.More:
		e.moreAsked(c)
	case eventsRead:
		e.read(c, m)
	case messages.EventsStored:
		e.stored(c, m)
	case supervise.Terminated:
		e.detach(m.ID)
	case supervise.Undeliverable: // to a session that has just ended: Terminated follows
	default:
		c.Unknown(message)
	}
}

// Stopping detaches all: the next incarnation knows none of them.
func (e *events) Stopping(c *supervise.Context, _ bool) {
	for _, a := range e.attaching {
		c.Send(a.pid, messages.Answer{ID: a.ask.ID, Payload: messages.Failure{Text: untold}})
	}
	for _, f := range e.subscribers {
		c.Send(f.pid, messages.Detached{Reason: untold})
	}
}

// untold is why a subscriber gets no more events.
const untold = "cannot tell events: the daemon failed or stops; try again"

// attachAsked looks for the first event of a subscriber.
func (e *events) attachAsked(c *supervise.Context, m messages.EventsAttach) {
	if len(e.attaching)+len(e.subscribers) >= maxSubscribers {
		text := messages.Publicf("%d clients follow events: that is as many as may do so at once", maxSubscribers)
		c.Respond(messages.Answer{ID: m.ID, Payload: messages.Failure{Text: text}})
		return
	}
	db, a := e.db, attacher{c.Sender(), m}
	e.attaching = append(e.attaching, a)
	c.Go(func(context.Context) any { return findEvents(db, a) })
}

func findEvents(db *store.DB, a attacher) eventsFound {
	if a.ask.Since.OK {
		first, last, err := db.FindEvents(a.ask.Since.Value.UnixMilli())
		return eventsFound{a, first, last, err}
	}
	last, err := db.LastEvent()
	return eventsFound{a, last + 1, last, err}
}

// found makes a session a subscriber. It gets the first event that it has asked for and
// each one from then on.
func (e *events) found(c *supervise.Context, m eventsFound) {
	a := m.attacher
	e.attaching = slices.DeleteFunc(e.attaching, func(other attacher) bool { return other == a })
	if m.err != nil {
		c.Send(a.pid, messages.Answer{ID: a.ask.ID, Payload: messages.Failure{Text: c.Public(m.err)}})
		return
	}
	e.last = max(e.last, m.last)
	e.subscribers = append(e.subscribers, &subscriber{pid: a.pid, name: a.ask.Name, next: m.first, present: m.last})
	c.Watch(a.pid)
	c.Request(a.pid, messages.Answer{ID: a.ask.ID, Payload: messages.SuccessEvents{}})
}

func (e *events) moreAsked(c *supervise.Context) {
	if f := e.subscriber(c.Sender().Id); f != nil {
		f.credit = true
		e.serve(c, f)
	}
}

// stored serves those who wait for new events.
func (e *events) stored(c *supervise.Context, m messages.EventsStored) {
	e.last = max(e.last, m.Last)
	for _, f := range e.subscribers {
		e.serve(c, f)
	}
}

// serve reads the next batch for a subscriber, if it has given credit and there is
// something to send.
func (e *events) serve(c *supervise.Context, f *subscriber) {
	if !f.credit || f.reading || f.presentSent && f.next > e.last {
		return
	}
	f.reading = true
	db, id, name, next, until := e.db, f.pid.Id, f.name, f.next, e.last
	if !f.presentSent {
		until = f.present
	}
	c.Go(func(context.Context) any { return readEvents(db, id, name, next, until) })
}

// readEvents reads on until there is something for the subscriber of a name, or nothing
// more up to a number.
func readEvents(db *store.DB, subscriber string, name messages.Name, next, until uint64) eventsRead {
	r := eventsRead{subscriber: subscriber, next: next}
	for r.next <= until && r.batch.Missed == 0 && len(r.batch.List) == 0 {
		list, after, err := db.Events(r.next, int(min(batchEvents, until-r.next+1)))
		if err != nil {
			r.err = err
			return r
		}
		if after == r.next { // the database has lost events that it should contain
			after = until + 1
		}
		r.batch.Missed = after - r.next - uint64(len(list))
		r.batch.List = slices.DeleteFunc(list, func(e messages.NumberedEvent) bool { return !name.Covers(e.Event.Name) })
		r.next = after
	}
	return r
}

func (e *events) read(c *supervise.Context, m eventsRead) {
	f := e.subscriber(m.subscriber)
	switch {
	case f == nil: // it has left
		return
	case m.err != nil:
		c.Log().Error("Cannot read events", "error", m.err)
		c.Send(f.pid, messages.Detached{Reason: "cannot tell events: " + messages.PublicError(m.err)})
		e.detach(m.subscriber)
		return
	}
	f.reading = false
	f.next = m.next
	m.batch.Present = !f.presentSent && f.next > f.present
	f.presentSent = f.presentSent || m.batch.Present
	if m.batch.Missed == 0 && len(m.batch.List) == 0 && !m.batch.Present { // all of them were of other names
		e.serve(c, f)
		return
	}
	f.credit = false
	c.Request(f.pid, m.batch)
}

func (e *events) subscriber(id string) *subscriber {
	for _, f := range e.subscribers {
		if f.pid.Id == id {
			return f
		}
	}
	return nil
}

func (e *events) detach(id string) {
	e.subscribers = slices.DeleteFunc(e.subscribers, func(f *subscriber) bool { return f.pid.Id == id })
}

package actors_test

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

// always is the time to ask from for all events.
var always = messages.Some(time.UnixMilli(0).UTC())

// followEvents subscribes to events.
func (w *world) followEvents(name string, since messages.Option[time.Time]) *client {
	w.t.Helper()
	c := w.connect(messages.AtControl)
	w.t.Cleanup(func() { c.Close() })
	c.send(name, messages.EventsSubscribe{Since: since})
	require.Equal(w.t, messages.SuccessEvents{}, c.receive().Payload)
	return c
}

// A reader holds what a follower has read so far.
type reader struct {
	*client
	numbers []uint64
	missed  uint64
	present int // how many came before the present; negative: not known yet
}

func newReader(c *client) *reader { return &reader{client: c, present: -1} }

// read reads the next item.
func (r *reader) read() messages.Payload {
	r.w.t.Helper()
	p := r.receive().Payload
	switch p := p.(type) {
	case messages.DataEvent:
		r.numbers = append(r.numbers, p.Number)
	case messages.DataMissed:
		r.missed += p.Count
	case messages.DataPresent:
		require.Negative(r.w.t, r.present, "the mark of the present comes once")
		r.present = len(r.numbers)
	}
	return p
}

// readTo reads up to an event.
func (r *reader) readTo(number uint64) {
	r.w.t.Helper()
	for len(r.numbers) == 0 || r.numbers[len(r.numbers)-1] < number {
		r.read()
	}
}

// fill stores events, one in each millisecond since 1970, in a database that no
// daemon uses yet.
func fill(n int) func(*world) {
	return func(w *world) {
		db, err := store.Open(w.dir)
		require.NoError(w.t, err)
		w.putEvents(db, n)
		require.NoError(w.t, db.Close())
	}
}

func (w *world) putEvents(db *store.DB, n int) {
	var changes []messages.Change
	for i := range n {
		changes = append(changes, messages.PutEvent{
			Event: messages.NewEvent("test", messages.Name{Path: "old", Label: "x"}, time.UnixMilli(int64(i+1)), ""),
		})
	}
	require.NoError(w.t, db.Apply(changes))
}

// happen makes two events.
func (w *world) happen(path string) {
	w.t.Helper()
	require.IsType(w.t, messages.SuccessText{}, w.addPolicy(path, policy(2, 64)))
	require.IsType(w.t, messages.SuccessText{}, w.ask(path, messages.PolicyRemove{}))
}

func (w *world) lastEvent() uint64 {
	w.t.Helper()
	last, err := w.config.DB.LastEvent()
	require.NoError(w.t, err)
	return last
}

// TestEventsAreToldOnce: a follower that comes while events happen gets each event that it has
// asked for once, in order. The mark of the present comes before the first event that is new.
func TestEventsAreToldOnce(t *testing.T) {
	const (
		old     = 700
		writers = 4
		each    = 25 // each writes two events
	)
	w := newWorld(t, fill(old))
	w.requireEvents(":", "daemon-started: ")
	var writing, reading sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			for range each {
				w.happen(fmt.Sprintf("p%d:", i))
			}
		})
	}
	const all = old + 1 + 2*writers*each
	for title, tc := range map[string]struct {
		since messages.Option[time.Time]
		first uint64 // 0: any
	}{
		"from the beginning": {always, 1},
		"all":                {messages.Some(time.UnixMilli(1)), 1},
		"some":               {messages.Some(time.UnixMilli(300)), 300},
		"one batch":          {messages.Some(time.UnixMilli(old + 1 - 256)), old + 1 - 256},
		"only what is new":   {messages.Option[time.Time]{}, 0},
	} {
		for _, late := range []bool{false, true} {
			before := w.lastEvent()
			r := newReader(w.followEvents(":", tc.since))
			after := w.lastEvent()
			reading.Go(func() {
				if late {
					writing.Wait()
				}
				r.readTo(all)
				if tc.first != 0 && tc.first != r.numbers[0] {
					t.Errorf("%s: it begins with %d instead of %d", title, r.numbers[0], tc.first)
				}
				for i, n := range r.numbers {
					if n != r.numbers[0]+uint64(i) {
						t.Errorf("%s: %d is number %d after %d", title, n, i, r.numbers[0])
					}
				}
				if r.missed != 0 {
					t.Errorf("%s: missed %d", title, r.missed)
				}
				if r.present < 0 || tc.first != 0 && (r.numbers[r.present-1] < before || r.numbers[r.present-1] > after) || tc.first == 0 && r.present != 0 {
					t.Errorf("%s: %d were not new, and the last was one of %d to %d", title, r.present, before, after)
				}
			})
		}
	}
	reading.Wait()
	writing.Wait()
	require.Equal(t, uint64(all), w.lastEvent())
}

func TestEventsOfOneName(t *testing.T) {
	w := newWorld(t)
	one, all, path := newReader(w.followEvents("a:x", always)), newReader(w.followEvents(":", always)), newReader(w.followEvents("a:", always))
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", "a:y", create(guest("hello", "--quiet")))
	w.happen("a:")
	w.happen("b:")
	require.Equal(t, []string{"a:x created", "a:x started", "a:x destroyed"}, one.names(w, "a:x", 3))
	require.Equal(t, []string{":x created", ":x started", ":y created", ":y started", ": policy-added", ": policy-removed"}, path.names(w, "", 6))
	require.Contains(t, all.names(w, "", 9), "b: policy-removed", "in full")
}

// names returns the names and kinds of the next n events. If destroy is the name of a unikernel,
// names destroys that before the last of them.
func (r *reader) names(w *world, destroy string, n int) (names []string) {
	w.t.Helper()
	for len(names) < n {
		if destroy != "" && len(names) == n-1 {
			w.succeeds("destroyed unikernel", destroy, messages.UnikernelDestroy{})
			destroy = ""
		}
		if e, ok := r.read().(messages.DataEvent); ok && e.Event.Kind != messages.EventExited {
			names = append(names, e.Event.Name.String()+" "+string(e.Event.Kind))
		}
	}
	return names
}

// TestWhoDoesNotReadEvents reads later how many it has missed. Nothing waits for it.
func TestWhoDoesNotReadEvents(t *testing.T) {
	const old, more = 600, store.MaxEvents + 200
	w := newWorld(t, fill(old))
	w.requireEvents(":", "daemon-started: ")
	r := newReader(w.followEvents(":", always))
	w.putEvents(w.config.DB, more)
	w.happen("a:")
	last := w.lastEvent()
	require.Equal(t, uint64(old+1+more+2), last)
	r.readTo(last)
	require.Equal(t, last, r.missed+uint64(len(r.numbers)))
	require.Less(t, len(r.numbers), store.MaxEvents+2*256+1)
	require.Greater(t, r.present, 0)
	before := uint64(0)
	gaps := uint64(0)
	for _, n := range r.numbers {
		require.Greater(t, n, before)
		gaps += n - before - 1
		before = n
	}
	require.Equal(t, r.missed, gaps)
}

// TestTooManyFollowEvents: a place is free again when a follower has left. Nothing waits for
// followers that do not read.
func TestTooManyFollowEvents(t *testing.T) {
	const most = 256
	w := newWorld(t)
	var all []*client
	for range most {
		all = append(all, w.followEvents(":", always))
	}
	c := w.connect(messages.AtControl)
	c.send(":", messages.EventsSubscribe{})
	require.Equal(t, fails("256 clients follow events: that is as many as may do so at once"), c.receive().Payload)
	w.happen("a:")
	all[3].Close()
	w.until("there is a place again", func() bool {
		c := w.connect(messages.AtControl)
		defer c.Close()
		c.send(":", messages.EventsSubscribe{})
		return c.receive().Payload == messages.Payload(messages.SuccessEvents{})
	})
	newReader(all[most-1]).readTo(w.lastEvent())
}

// TestEventsEndWithTheDaemon.
func TestEventsEndWithTheDaemon(t *testing.T) {
	w := newWorld(t)
	c := w.followEvents(":", messages.Option[time.Time]{})
	require.Equal(t, messages.DataPresent{}, c.receive().Payload)
	w.restart()
	<-c.closed
	r := newReader(w.followEvents(":", always))
	r.readTo(w.lastEvent())
}

// TestFollowersOfEventsThatAreLost read why, and may ask for the events again.
func TestFollowersOfEventsThatAreLost(t *testing.T) {
	faults := &failFirst{}
	w := newWorld(t, func(w *world) { w.fault = faults.at })
	w.until("the start of the daemon is an event", func() bool { return w.lastEvent() > 0 })
	c := w.followEvents(":", messages.Option[time.Time]{})
	require.Equal(t, messages.DataPresent{}, c.receive().Payload)
	faults.arm(t, map[string]int{"messages.EventsStored": 1})
	w.happen("a:")
	require.Equal(t, messages.Failure{Text: "cannot tell events: the daemon failed or stops; try again"}, c.receive().Payload)
	c.requireClosed()
	newReader(w.followEvents(":", always)).readTo(w.lastEvent())
}

func TestAnotherCommandEndsEvents(t *testing.T) {
	w := newWorld(t)
	c := w.followEvents(":", messages.Option[time.Time]{})
	require.Equal(t, messages.DataPresent{}, c.receive().Payload)
	c.send(":", messages.EndList{})
	<-c.closed
}

// Events come in the order of time, though each happens a moment before it is stored, and many
// happen at once.
func TestEventsAreInTheOrderOfTime(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprintf("a:x%d", i)
			w.ask(name, create(guest("hello", "--quiet")))
			w.ask(name, messages.UnikernelDestroy{})
		})
	}
	all.Wait()
	list, _, err := w.config.DB.Events(1, math.MaxInt)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(list), 8*4)
	for i, e := range list[1:] {
		require.LessOrEqual(t, list[i].Event.AtMillis, e.Event.AtMillis, "%v before %v", list[i], e)
	}
}

// TestEventsOfAStoreThatFails reach the followers when it works again, even if nothing else
// happens.
func TestEventsOfAStoreThatFails(t *testing.T) {
	var armed atomic.Bool
	w := newWorld(t, withBlocks, func(w *world) {
		w.fault = func(_ string, message any) {
			if fmt.Sprintf("%T", message) == "store.committed" && armed.Swap(false) {
				panic("injected")
			}
		}
	})
	w.requireEvents(":", "daemon-started: ")
	r := newReader(w.followEvents(":", always))
	r.readTo(1)
	armed.Store(true)
	w.succeeds("added block device", ":d", messages.BlockAdd{Size: 1})
	r.readTo(2)
	require.False(t, armed.Load())
}

package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
)

const (
	// readPause is between reads where there is much to read, so that each has many
	// lines: a read costs as much as some dozen of them.
	readPause = time.Millisecond
	// syncAfter is how long a line may be in no file that a power cut spares.
	syncAfter = time.Second
	// syncAgainAfter is the pause before history is written again that could not
	// be, as where the disk is full.
	syncAgainAfter = 10 * time.Second
	// batchLines is how many lines a subscriber gets at once.
	batchLines = 256
)

// A console owns the history of one name, the reading end of its FIFO while a
// unikernel runs, and the subscribers. What the unikernel prints goes to disk;
// it is in memory, in the ring, only while there are subscribers. A chatty
// unikernel has one read under way at a time, and a subscriber one batch: the
// ring is the only queue.
type console struct {
	name           messages.Name
	fifo           string     // where the FIFO is while a unikernel runs
	host           *actor.PID // is told when nobody is subscribed any more
	history        *history.Dir
	maxSubscribers int
	again          bool // an incarnation of this console has failed before

	// The FIFO.
	log      *history.Log
	feed     *history.Pipe // the end of the FIFO that is read; nil while none is open
	attempts int           // to open a FIFO, ever made
	opening  bool          // an attempt is under way
	closing  bool          // what is left is being read
	openers  []opener
	closers  []closer
	readAt   time.Time // the last time that something was read
	unsynced bool      // something was read since the last sync began
	syncing  bool      // one is under way, or will be

	// Those who read.
	ring        *ring                  // nil while there is no subscriber
	follower    uint64                 // the number of the ring; see history.Log
	early       []messages.ConsoleLine // lines behind those that are being loaded for the ring
	waiting     []attacher             // for the ring
	subscribers []*subscriber          // the one that came first, first
	attached    int                    // subscriptions ever handled
}

// An opener waits for the FIFO to be open, or for an attempt that was made
// after it has asked to fail.
type opener struct {
	pid     *actor.PID
	id      uint64
	attempt int
}

// A closer waits for the FIFO to be closed.
type closer struct {
	pid *actor.PID
	id  uint64
}

// What the console's goroutines and timers tell it.
type (
	feedOpened struct {
		feed *history.Pipe // nil where err is not
		err  error
	}
	feedRead struct {
		taken history.Taken
		err   error
	}
	feedDrained struct {
		taken history.Taken
		err   error
	}
	readDue    struct{}
	ringLoaded struct{ lines []messages.ConsoleLine }
	syncDue    struct{}
	synced     struct{ ok bool }
)

// Discard frees a feed that came too late.
func (o feedOpened) Discard() {
	if o.feed != nil {
		_ = o.feed.Close()
	}
}

func (k *console) Started(c *supervise.Context) {
	log := c.Log()
	k.log = k.history.Log(k.name, func(err error) { log.Error("Cannot keep history", "error", err) })
	if k.again {
		c.Send(k.host, messages.ConsoleRestarted{Name: k.name})
	}
}

func (k *console) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.ConsoleOpen:
		k.openAsked(c, m)
	case messages.ConsoleClose:
		k.closeAsked(c, m)
	case messages.ConsoleAttach:
		k.attachAsked(c, m)
	case messages.ConsoleMore:
		k.moreAsked(c)
	case supervise.Terminated:
		k.detach(c, m.ID)
	case feedOpened:
		k.opened(c, m)
	case feedRead:
		k.read(c, m)
	case readDue:
		k.readMore(c)
	case feedDrained:
		k.drained(c, m)
	case ringLoaded:
		k.loaded(c, m)
	case syncDue:
		k.sync(c)
	case synced:
		k.synced(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping lets go of the FIFO. The unikernel goes on; what it prints waits in
// the pipe for the next incarnation, which waits until the log is closed.
func (k *console) Stopping(c *supervise.Context, _ bool) {
	if k.feed != nil {
		_ = k.feed.Close() // ends the read that is under way
	}
	log := k.log
	c.Go(func(context.Context) any { log.Close(); return nil })
	for _, o := range k.openers {
		c.Send(o.pid, messages.ConsoleOpened{ID: o.id, Err: "internal error: the console has failed; the log tells more"})
	}
	for _, w := range k.closers {
		c.Send(w.pid, messages.ConsoleClosed{ID: w.id})
	}
	k.sendAway(c)
}

func (k *console) openAsked(c *supervise.Context, m messages.ConsoleOpen) {
	if k.feed != nil && !k.closing {
		c.Respond(messages.ConsoleOpened{ID: m.ID})
		return
	}
	k.openers = append(k.openers, opener{c.Sender(), m.ID, k.attempts + 1})
	k.open(c)
}

// open starts an attempt to open the FIFO, unless it has to wait for something
// that goes on here when it ends.
func (k *console) open(c *supervise.Context) {
	if k.opening || k.closing {
		return
	}
	k.opening = true
	k.attempts++
	path := k.fifo
	c.Go(func(context.Context) any {
		feed, err := history.OpenPipe(path)
		return feedOpened{feed, err}
	})
}

func (k *console) opened(c *supervise.Context, m feedOpened) {
	k.opening = false
	k.feed = m.feed
	k.answerOpeners(c, m.err)
	if k.feed != nil {
		k.readMore(c)
	}
	if len(k.closers) > 0 {
		k.close(c)
	}
	if len(k.openers) > 0 {
		k.open(c)
	}
}

// answerOpeners tells how the last attempt ended. It is no answer to those who
// have asked while it was under way: the FIFO may have been made since.
func (k *console) answerOpeners(c *supervise.Context, err error) {
	later := k.openers[:0]
	for _, o := range k.openers {
		switch {
		case err == nil:
			c.Send(o.pid, messages.ConsoleOpened{ID: o.id})
		case o.attempt <= k.attempts:
			c.Send(o.pid, messages.ConsoleOpened{ID: o.id, Err: err.Error()})
		default:
			later = append(later, o)
		}
	}
	k.openers = later
}

func (k *console) readMore(c *supervise.Context) {
	log, feed := k.log, k.feed
	c.Go(func(context.Context) any {
		taken, err := log.Take(feed)
		return feedRead{taken, err}
	})
}

func (k *console) read(c *supervise.Context, m feedRead) {
	k.add(c, m.taken)
	switch {
	case k.closing: // the deadline has passed, or a read was faster
		k.drain(c)
	case m.err != nil:
		c.Log().Error("Cannot read console", "name", k.name, "error", m.err)
		k.letGo()
	default:
		k.syncLater(c)
		k.readOn(c, m.taken.More)
	}
}

// readOn goes on reading: at once where something waits to be read, or where
// there was nothing for a while.
func (k *console) readOn(c *supervise.Context, more bool) {
	before := k.readAt
	k.readAt = c.Now()
	if more || k.readAt.Sub(before) > readPause {
		k.readMore(c)
		return
	}
	c.After(readPause, readDue{})
}

// closeAsked reads what is left and lets go of the FIFO.
func (k *console) closeAsked(c *supervise.Context, m messages.ConsoleClose) {
	k.closers = append(k.closers, closer{c.Sender(), m.ID})
	if !k.opening {
		k.close(c)
	}
}

func (k *console) close(c *supervise.Context) {
	switch {
	case k.closing:
	case k.feed == nil: // the last line of what a former daemon has read may have no end
		k.closing = true
		k.drain(c)
	default:
		k.closing = true
		// Wakes the read that is under way; what follows is read by drain.
		k.feed.Stop()
	}
}

func (k *console) drain(c *supervise.Context) {
	log, feed := k.log, k.feed
	c.Go(func(context.Context) any {
		taken, err := log.Finish(feed)
		return feedDrained{taken, err}
	})
}

func (k *console) drained(c *supervise.Context, m feedDrained) {
	k.add(c, m.taken)
	if m.err != nil {
		c.Log().Error("Cannot read the end of console", "name", k.name, "error", m.err)
	}
	k.syncLater(c)
	k.letGo()
	k.closed(c)
}

func (k *console) letGo() {
	if k.feed != nil {
		_ = k.feed.Close()
	}
	k.feed = nil
	k.closing = false
}

// closed answers those who wait for the FIFO to be closed, and serves those who
// have asked for the next one to be opened meanwhile.
func (k *console) closed(c *supervise.Context) {
	for _, w := range k.closers {
		c.Send(w.pid, messages.ConsoleClosed{ID: w.id})
	}
	k.closers = nil
	if len(k.openers) > 0 {
		k.open(c)
	}
}

// syncLater has what was read be on disk soon.
func (k *console) syncLater(c *supervise.Context) {
	k.unsynced = true
	if !k.syncing {
		k.syncing = true
		c.After(syncAfter, syncDue{})
	}
}

func (k *console) sync(c *supervise.Context) {
	k.unsynced = false
	log := k.log
	c.Go(func(context.Context) any { return synced{log.Sync()} })
}

func (k *console) synced(c *supervise.Context, m synced) {
	k.syncing = false
	switch {
	case !m.ok:
		k.syncing = true
		c.After(syncAgainAfter, syncDue{})
	case k.unsynced:
		k.syncLater(c)
	}
}

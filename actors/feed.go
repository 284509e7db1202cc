package actors

import (
	"context"
	"time"

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
)

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

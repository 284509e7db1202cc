package console

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
	"albatross/runtime/proc"
)

const (
	// readPause is the pause between reads of much output, so that each gets many lines:
	// a read costs as much as some dozen of them.
	readPause = time.Millisecond
	// syncAfter is how long a power cut can lose a line.
	syncAfter = time.Second
	// NamePause is the interval at which the FIFO of another daemon is looked for.
	NamePause = time.Second
	// syncAgainAfter is the pause before a failed write of history is tried again, such
	// as on a full disk.
	syncAgainAfter = 10 * time.Second
)

// openAsked reads the FIFO for our unikernel. That of another daemon's unikernel of this
// name is closed, and that of our former run, whose end we may not know: the FIFO is
// another one now.
func (k *console) openAsked(c *supervise.Context, m messages.ConsoleOpen) {
	if m.Tender.OK && k.feed != nil && !k.closing && !k.foreign {
		c.Respond(messages.ConsoleOpened{ID: m.ID})
		return
	}
	k.openers = append(k.openers, opener{pid: c.Sender(), id: m.ID, attempt: k.attempts + 1})
	k.tender = m.Tender
	k.open(c)
}

// adoptAsked reads the FIFO for another daemon.
func (k *console) adoptAsked(c *supervise.Context, m messages.ConsoleAdopt) {
	k.heard = m.Number
	k.openers = append(k.openers, opener{pid: c.Sender(), id: m.ID, attempt: k.attempts + 1, foreign: true, limit: m.Limit})
	k.open(c)
}

// open begins an attempt to open the FIFO, if somebody waits for that: our unikernel
// first. It may be called again when something that it must wait for has ended.
func (k *console) open(c *supervise.Context) {
	foreign := !k.awaited(false)
	switch {
	case len(k.openers) == 0 || k.opening || k.closing:
	case k.feed == nil || foreign && k.foreign:
		k.attempt(c, foreign)
	case k.foreign, !foreign:
		k.close(c)
	default:
		k.answerOpeners(c, true, ErrOurs)
	}
}

// awaited reports whether our unikernel, or another daemon, waits for the FIFO.
func (k *console) awaited(foreign bool) bool {
	return slices.ContainsFunc(k.openers, func(o opener) bool { return o.foreign == foreign })
}

func (k *console) attempt(c *supervise.Context, foreign bool) {
	k.opening = true
	k.attempts++
	path, output, old, tender, log := k.FIFO, k.Output, k.feed, k.tender, k.log
	c.Go(func(ctx context.Context) any {
		switch {
		case !foreign && tender.OK:
			return openOurs(ctx, output, tender.Value)
		case !foreign: // a new run, whose output begins a new line
			if err := log.Finish(nil); err != nil {
				return feedOpened{err: err}
			}
			feed, err := history.OpenPipe(path)
			return feedOpened{feed: feed, err: err}
		}
		feed, err := history.OpenForeignPipe(path)
		return feedOpened{feed: feed, foreign: true, same: err == nil && old != nil && old.Same(feed), err: err}
	})
}

// openOurs opens the FIFO of our unikernel that runs. If that has ended, there may be nothing
// to read.
func openOurs(ctx context.Context, output func(context.Context, messages.Process) (*os.File, error), tender messages.Process) feedOpened {
	f, err := output(ctx, tender)
	switch {
	case errors.Is(err, proc.ErrGone):
		return feedOpened{}
	case err != nil:
		return feedOpened{err: err}
	}
	feed, err := history.WatchPipe(f)
	return feedOpened{feed: feed, err: err}
}

func (k *console) opened(c *supervise.Context, m feedOpened) {
	k.opening = false
	k.giveAll(c)
	switch {
	case m.err != nil:
		k.notOpened(c, m)
	case m.foreign && k.awaited(false): // ours has priority
		m.Discard()
	case m.feed == nil:
		k.answerOpeners(c, false, nil)
	case k.feed == nil:
		k.feed, k.foreign = m.feed, m.foreign
		k.answerOpeners(c, m.foreign, nil)
		k.readMore(c)
		if m.foreign {
			c.After(NamePause, nameDue{m.feed})
		}
	case m.same:
		m.Discard()
		k.answerOpeners(c, true, nil)
	default: // the other daemon runs it again; the rest of the last run comes first
		m.Discard()
		k.close(c)
	}
	if len(k.closers) > 0 {
		k.close(c)
	}
	k.open(c)
}

// checkName ends the FIFO of another daemon that has been removed before anything has opened it:
// then its unikernel could not be started.
func (k *console) checkName(c *supervise.Context, m nameDue) {
	if k.feed != m.feed {
		return
	}
	unnamed, err := m.feed.EndIfUnnamed()
	switch {
	case err != nil:
		c.Log().Error("Cannot tell whether a console still has a name", "name", k.Name, "error", err)
	case !unnamed:
		c.After(NamePause, nameDue{m.feed})
	}
}

// notOpened answers those who have waited. The host may still believe that a former
// incarnation reads for another daemon.
func (k *console) notOpened(c *supervise.Context, m feedOpened) {
	k.answerOpeners(c, m.foreign, m.err)
	if m.foreign && k.feed == nil {
		c.Send(k.Host, messages.ConsoleEnded{Name: k.Name})
		k.reportIdle(c)
	}
}

// ErrOurs is for another daemon.
var ErrOurs = errors.New("this daemon runs a unikernel of that name")

// answerOpeners reports the last attempt. It is no answer to those who have asked while it was
// under way: the FIFO may have been made since, or by another daemon made again. If ours was opened
// for our unikernel, that is what it asked for, whenever.
func (k *console) answerOpeners(c *supervise.Context, foreign bool, err error) {
	all := k.openers
	k.openers = nil
	for _, o := range all {
		tooEarly := o.attempt > k.attempts && err != ErrOurs && (err != nil || foreign)
		if o.foreign != foreign || tooEarly {
			k.openers = append(k.openers, o)
			continue
		}
		k.answerOpener(c, o, err)
	}
}

func (k *console) answerOpener(c *supervise.Context, o opener, err error) {
	if !o.foreign {
		m := messages.ConsoleOpened{ID: o.id}
		if err != nil {
			m.Err = c.Public(err)
		}
		c.Send(o.pid, m)
		return
	}
	answer := messages.Answer{ID: o.id, Payload: messages.SuccessEmpty{}}
	if err == nil {
		c.Send(k.Host, messages.ConsoleAdopted{Name: k.Name, Limit: o.limit})
	} else {
		answer.Payload = messages.Failure{Text: AdoptFailure(c, err)}
	}
	if o.pid != nil {
		c.Send(o.pid, answer)
	}
}

// AdoptFailure returns the text for another daemon, without a path of this host.
func AdoptFailure(c *supervise.Context, err error) messages.Public {
	if errors.Is(err, os.ErrNotExist) {
		return "opening" // natively
	}
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return "cannot read the console: " + c.Public(err)
}

func (k *console) readMore(c *supervise.Context) {
	log, feed := k.log, k.feed
	c.Go(func(context.Context) any {
		more, err := log.Take(feed)
		return feedRead{more, err}
	})
}

func (k *console) read(c *supervise.Context, m feedRead) {
	k.giveAll(c)
	switch {
	case k.closing: // the deadline has passed, or a read was faster
		k.drain(c)
	case errors.Is(m.err, io.EOF):
		k.closing = true
		k.drain(c)
	case m.err != nil:
		c.Log().Error("Cannot read console", "name", k.Name, "error", m.err)
		k.closeFeed(c)
	default:
		k.syncLater(c)
		k.readOn(c, m.more)
	}
}

// readOn reads again: at once if there is more output, or if there was none for a while.
func (k *console) readOn(c *supervise.Context, more bool) {
	before := k.readAt
	k.readAt = c.Now()
	if more || k.readAt.Sub(before) > readPause {
		k.readMore(c)
		return
	}
	c.After(readPause, readDue{})
}

// closeAsked reads the rest and closes the FIFO.
func (k *console) closeAsked(c *supervise.Context, m messages.ConsoleClose) {
	k.closers = append(k.closers, closer{c.Sender(), m.ID})
	if !k.opening {
		k.close(c)
	}
}

func (k *console) close(c *supervise.Context) {
	switch {
	case k.closing:
	case k.feed == nil: // the last line of a former daemon may be incomplete
		k.closing = true
		k.drain(c)
	default:
		k.closing = true
		// Wakes the read under way; drain reads what follows.
		k.feed.Stop()
	}
}

func (k *console) drain(c *supervise.Context) {
	log, feed := k.log, k.feed
	c.Go(func(context.Context) any { return feedDrained{log.Finish(feed)} })
}

func (k *console) drained(c *supervise.Context, m feedDrained) {
	k.giveAll(c)
	if m.err != nil {
		c.Log().Error("Cannot read the end of console", "name", k.Name, "error", m.err)
	}
	k.syncLater(c)
	k.closeFeed(c)
	k.closed(c)
}

func (k *console) closeFeed(c *supervise.Context) {
	if k.feed != nil {
		_ = k.feed.Close()
	}
	if k.foreign {
		c.Send(k.Host, messages.ConsoleEnded{Name: k.Name})
	}
	k.feed, k.foreign = nil, false
	k.closing = false
}

// closed answers those who wait for the FIFO to be closed, and continues with those who
// have asked for the next one meanwhile.
func (k *console) closed(c *supervise.Context) {
	for _, w := range k.closers {
		c.Send(w.pid, messages.ConsoleClosed{ID: w.id})
	}
	k.closers = nil
	k.open(c)
}

// syncLater schedules a sync of what was read.
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

// Package console keeps what one name has printed: it owns the history on disk, the
// reading end of the FIFO, the subscribers, and the ring that they read from.
package console

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
)

// A console owns the history of one name, the reading end of its FIFO while a
// unikernel runs, and the subscribers. What the unikernel prints goes to disk;
// it is in memory, in the ring, only while there are subscribers. A chatty
// unikernel has one read under way at a time, and a subscriber one batch: the
// ring is the only queue.
type console struct {
	Config
	former *console // the incarnation that has failed before, until this one has started
	heard  uint64   // the number of the last message from the host; see messages.ConsoleIdle

	// The FIFO.
	log      *history.Log
	feed     *history.Pipe // the end of the FIFO that is read; nil while none is open
	foreign  bool          // it is that of another daemon, and has an end
	attempts int           // to open a FIFO, ever made
	opening  bool          // an attempt is under way
	closing  bool          // what is left is being read
	openers  []opener
	tender   messages.Option[messages.Process] // that prints to it, where our unikernel runs already
	closers  []closer
	readAt   time.Time // the last time that something was read
	unsynced bool      // something was read since the last sync began
	syncing  bool      // one is under way, or will be

	// Those who read.
	ring        *ring           // nil while there is no subscriber
	follower    uint64          // the number of the ring; see history.Log
	early       []history.Taken // lines behind those that are being loaded for the ring
	waiting     []attacher      // for the ring
	subscribers []*subscriber   // the one that came first, first
	expected    []*actor.PID    // sessions that have been told to go on with the next incarnation
}

// A Config is what a console is made with.
type Config struct {
	Name           messages.Name
	FIFO           string     // where the FIFO is while a unikernel runs
	Host           *actor.PID // is told when nobody is subscribed any more
	History        *history.Dir
	MaxSubscribers int
}

// New returns the maker of the incarnations of a console.
func New(config Config) func() supervise.Actor {
	var last *console
	return func() supervise.Actor {
		last = &console{Config: config, former: last}
		return last
	}
}

// An opener waits for the FIFO to be open, or for an attempt that was made
// after it has asked to fail: our unikernel, or a session that speaks for another
// daemon.
type opener struct {
	pid     *actor.PID // nil: nobody, of another daemon
	id      uint64
	attempt int
	foreign bool
	limit   int // of that; see messages.ConsoleAdopt
}

// A closer waits for the FIFO to be closed.
type closer struct {
	pid *actor.PID
	id  uint64
}

// What the console's goroutines and timers tell it.
type (
	feedOpened struct {
		feed    *history.Pipe // nil where err is not
		ended   history.Taken // the last line of the run before, where that had no end
		foreign bool
		same    bool // as the one that is open already
		err     error
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
	ringLoaded struct {
		lines []messages.ConsoleLine
		next  int // the number of the line behind them
	}
	syncDue struct{}
	synced  struct{ ok bool }
)

// Discard frees a feed that came too late.
func (o feedOpened) Discard() {
	if o.feed != nil {
		_ = o.feed.Close()
	}
}

func (k *console) Started(c *supervise.Context) {
	log := c.Log()
	k.log = k.History.Log(k.Name, func(err error) { log.Error("Cannot keep history", "error", err) })
	if k.former == nil {
		return
	}
	k.expected, k.former = k.former.expected, nil
	for _, pid := range k.expected {
		c.Watch(pid)
	}
	c.Send(k.Host, messages.ConsoleRestarted{Name: k.Name})
}

func (k *console) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.ConsoleOpen:
		k.openAsked(c, m)
	case messages.ConsoleClose:
		k.closeAsked(c, m)
	case messages.ConsoleAdopt:
		k.adoptAsked(c, m)
	case messages.ConsoleAttach:
		k.heard = m.Number
		k.attachAsked(c, m)
	case messages.ConsoleResume:
		k.attachAsked(c, m)
	case messages.ConsoleMore:
		k.moreAsked(c)
	case messages.ConsoleLeave:
		k.leaveAsked(c)
	case messages.ConsoleProbe:
		k.heard = m.Number
		k.tellIdle(c)
	case supervise.Terminated:
		k.detach(c, m.ID)
	case supervise.Undeliverable: // to a session that has just ended: Terminated tells
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
func (k *console) Stopping(c *supervise.Context, again bool) {
	if k.feed != nil {
		_ = k.feed.Close() // ends the read that is under way
	}
	log := k.log
	c.Go(func(context.Context) any { log.Close(); return nil })
	for _, o := range k.openers {
		k.answerOpener(c, o, errors.New("internal error: the console has failed; the log tells more"))
	}
	for _, w := range k.closers {
		c.Send(w.pid, messages.ConsoleClosed{ID: w.id})
	}
	k.sendAway(c, again)
}

// tellIdle tells the host that nobody wants anything here, if that is so.
func (k *console) tellIdle(c *supervise.Context) {
	if len(k.subscribers)+len(k.waiting)+len(k.expected)+len(k.openers) == 0 {
		c.Send(k.Host, messages.ConsoleIdle{Name: k.Name, Heard: k.heard})
	}
}

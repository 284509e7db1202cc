// Package console keeps the output of one name. It owns the history on disk, the reading
// end of the FIFO, and the subscribers, who read from the history.
package console

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
)

// A console owns the history of one name, the reading end of its FIFO while a unikernel
// runs, and the subscribers. Output goes to disk, and subscribers read it from there: the
// history is the only queue. One read of the FIFO is under way, and one batch per
// subscriber.
type console struct {
	Config
	former *console // the incarnation that has failed before; nil once this one has started
	heard  uint64   // number of the last message from the host; see messages.ConsoleIdle

	// The FIFO.
	log      *history.Log
	feed     *history.Pipe // the open end of the FIFO; nil: none
	foreign  bool          // it is another daemon's, and has an end
	attempts int           // ever made to open a FIFO
	opening  bool          // an attempt is under way
	closing  bool          // the rest is being read
	openers  []opener
	tender   messages.Option[messages.Process] // whose output it is, if our unikernel runs already
	closers  []closer
	readAt   time.Time // when something was last read
	unsynced bool      // something was read since the last sync began
	syncing  bool      // a sync is under way, or scheduled

	// The readers.
	waiting     []attacher    // for the history
	subscribers []*subscriber // the oldest first
	expected    []*actor.PID  // sessions that were told to resume with the next incarnation
}

// A Config is what a console is made with.
type Config struct {
	Name messages.Name
	FIFO string // path of the FIFO until a unikernel of ours runs, or while another daemon's does
	// Output opens the FIFO of our unikernel that runs. It returns proc.ErrGone if there is
	// none any more.
	Output         func(context.Context, messages.Process) (*os.File, error)
	Host           *actor.PID // to tell when the last subscriber has left
	History        *history.Dir
	MaxSubscribers int
}

// New returns the constructor of the incarnations of a console.
func New(config Config) func() supervise.Actor {
	var last *console
	return func() supervise.Actor {
		last = &console{Config: config, former: last}
		return last
	}
}

// An opener waits for the FIFO to be open, or for the failure of an attempt that was made
// after its request. It is our unikernel, or a session of another daemon.
type opener struct {
	pid     *actor.PID // nil: nobody, for another daemon
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

// The messages of the console's own goroutines and timers.
type (
	feedOpened struct {
		feed    *history.Pipe // nil if err is not, or if the tender has ended
		foreign bool
		same    bool // as the open one
		err     error
	}
	feedRead struct {
		more bool
		err  error
	}
	feedDrained struct{ err error }
	readDue     struct{}
	nameDue     struct{ feed *history.Pipe } // another daemon's
	followed    struct {
		attacher
		reader *history.Reader
		empty  bool // there are no lines yet
	}
	linesRead struct {
		subscriber *subscriber
		lines      []messages.ConsoleLine
		missed     int
	}
	syncDue struct{}
	synced  struct{ ok bool }
)

// Discard closes a feed that came too late.
func (f feedOpened) Discard() {
	if f.feed != nil {
		_ = f.feed.Close()
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
	case messages.More:
		k.moreAsked(c)
	case messages.ConsoleLeave:
		k.leaveAsked(c)
	case messages.ConsoleProbe:
		k.heard = m.Number
		k.reportIdle(c)
	case supervise.Terminated:
		k.detach(c, m.ID)
	case supervise.Undeliverable: // to a session that has just ended: Terminated follows
	case feedOpened:
		k.opened(c, m)
	case feedRead:
		k.read(c, m)
	case nameDue:
		k.checkName(c, m)
	case readDue:
		k.readMore(c)
	case feedDrained:
		k.drained(c, m)
	case followed:
		k.attach(c, m)
	case linesRead:
		k.linesRead(c, m)
	case syncDue:
		k.sync(c)
	case synced:
		k.synced(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping closes the FIFO. The unikernel goes on; its output waits in the pipe for the
// next incarnation, which waits until the log is closed.
func (k *console) Stopping(c *supervise.Context, again bool) {
	if k.feed != nil {
		_ = k.feed.Close() // ends the read under way
	}
	log := k.log
	c.Go(func(context.Context) any { log.Close(); return nil })
	for _, o := range k.openers {
		k.answerOpener(c, o, errors.New("internal error: the console has failed; the log tells more"))
	}
	for _, w := range k.closers {
		c.Send(w.pid, messages.ConsoleClosed{ID: w.id})
	}
	k.detachAll(c, again)
}

// reportIdle tells the host if the console has no users.
func (k *console) reportIdle(c *supervise.Context) {
	if len(k.subscribers)+len(k.waiting)+len(k.expected)+len(k.openers) == 0 {
		c.Send(k.Host, messages.ConsoleIdle{Name: k.Name, Heard: k.heard})
	}
}

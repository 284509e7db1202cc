package actors

import (
	"bytes"
	"context"
	"os"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
)

const (
	// readSize is how much of a FIFO is read, and told to the console, at once.
	readSize = 64 << 10
	// batchLines is how many lines a subscriber gets at once.
	batchLines = 256
)

// A console owns the ring of one name, the reading end of its FIFO while a
// unikernel runs, and the subscribers. A chatty unikernel has one read under
// way at a time, and a subscriber one batch: the ring is the only queue.
type console struct {
	name           messages.Name
	fifo           string     // where the FIFO is while a unikernel runs
	host           *actor.PID // is told when nobody is subscribed any more
	maxSubscribers int
	again          bool // an incarnation of this console has failed before

	ring        *ring
	subscribers []*subscriber // the one that came first, first
	attached    int           // subscriptions ever handled
	feed        *feed         // nil while no FIFO is open
	attempts    int           // to open a FIFO, ever made
	opening     bool          // an attempt is under way
	closing     bool          // feed is being read for the last time
	openers     []opener
	closers     []closer
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

// A subscriber is a session that wants every line.
type subscriber struct {
	pid     *actor.PID
	next    int  // the number of the line it gets next
	credits bool // it has asked for more
}

// A feed is the reading end of a FIFO. It belongs to the goroutine that reads,
// and between reads to the console.
type feed struct {
	file     *os.File
	splitter splitter
	buffer   []byte
}

// What the console's goroutines tell it.
type (
	feedOpened struct {
		feed *feed // nil where err is not
		err  error
	}
	feedRead struct {
		lines []string
		err   error
	}
	feedDrained struct {
		lines []string
		err   error
	}
)

// Discard frees a feed that came too late.
func (o feedOpened) Discard() {
	if o.feed != nil {
		_ = o.feed.file.Close()
	}
}

func (k *console) Started(c *supervise.Context) {
	k.ring = newRing(ringLines)
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
		k.attach(c, m)
	case messages.ConsoleMore:
		k.moreAsked(c)
	case supervise.Terminated:
		k.detach(c, m.ID)
	case feedOpened:
		k.opened(c, m)
	case feedRead:
		k.read(c, m)
	case feedDrained:
		k.drained(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping lets go of the FIFO. The unikernel goes on; what it prints waits in
// the pipe for the next incarnation.
func (k *console) Stopping(c *supervise.Context, _ bool) {
	if k.feed != nil {
		_ = k.feed.file.Close()
	}
	for _, o := range k.openers {
		c.Send(o.pid, messages.ConsoleOpened{ID: o.id, Err: "internal error: the console has failed; the log tells more"})
	}
	for _, w := range k.closers {
		c.Send(w.pid, messages.ConsoleClosed{ID: w.id})
	}
	for _, s := range k.subscribers {
		c.Send(s.pid, messages.ConsoleDetached{})
	}
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
	c.Go(func(context.Context) any {
		file, err := fifo.OpenReader(k.fifo)
		if err != nil {
			return feedOpened{err: err}
		}
		return feedOpened{feed: &feed{file: file, buffer: make([]byte, readSize)}}
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
	f := k.feed
	c.Go(func(context.Context) any {
		n, err := f.file.Read(f.buffer)
		return feedRead{lines: f.split(f.buffer[:n]), err: err}
	})
}

func (f *feed) split(data []byte) []string {
	var lines []string
	f.splitter.feed(data, func(line string) { lines = append(lines, line) })
	return lines
}

func (k *console) read(c *supervise.Context, m feedRead) {
	k.add(c, m.lines)
	switch {
	case k.closing: // the deadline has passed, or a read was faster
		k.drain(c)
	case m.err != nil:
		c.Log().Error("Cannot read console", "name", k.name, "error", m.err)
		k.letGo()
	default:
		k.readMore(c)
	}
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
	case k.feed == nil:
		k.closed(c)
	default:
		k.closing = true
		// Wakes the read that is under way; what follows is read by drain.
		_ = k.feed.file.SetReadDeadline(time.Unix(1, 0))
	}
}

func (k *console) drain(c *supervise.Context) {
	f := k.feed
	c.Go(func(context.Context) any {
		var rest bytes.Buffer // at most what a pipe holds
		err := fifo.Drain(f.file, &rest)
		lines := f.split(rest.Bytes())
		f.splitter.end(func(line string) { lines = append(lines, line) })
		return feedDrained{lines: lines, err: err}
	})
}

func (k *console) drained(c *supervise.Context, m feedDrained) {
	k.add(c, m.lines)
	if m.err != nil {
		c.Log().Error("Cannot read the end of console", "name", k.name, "error", m.err)
	}
	k.letGo()
	k.closed(c)
}

func (k *console) letGo() {
	_ = k.feed.file.Close()
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

// add puts lines into the ring and gives them to whoever waits for them.
func (k *console) add(c *supervise.Context, lines []string) {
	now := c.Now()
	for _, line := range lines {
		k.ring.add(messages.ConsoleLine{Time: now, Text: line})
	}
	for _, s := range k.subscribers {
		k.give(c, s)
	}
}

// attach makes the sender a subscriber. What it gets of the history, and that
// it gets every line from then on, is decided here in one step.
func (k *console) attach(c *supervise.Context, m messages.ConsoleAttach) {
	k.attached++
	s := &subscriber{pid: c.Sender(), next: k.start(m.Subscribe)}
	k.subscribers = append(k.subscribers, s)
	c.Watch(s.pid)
	if len(k.subscribers) > k.maxSubscribers {
		oldest := k.subscribers[0].pid
		c.Send(oldest, messages.ConsoleDetached{})
		k.detach(c, oldest.Id)
	}
	text := "subscribed"
	if k.feed == nil && !k.opening && k.ring.total == 0 {
		text = "waiting for VM"
	}
	c.Request(s.pid, messages.Answer{ID: m.ID, Payload: messages.SuccessText{Text: text}})
}

// start is the number of the first line that a subscription asks for.
func (k *console) start(m messages.ConsoleSubscribe) int {
	if m.Since.OK {
		return k.ring.since(m.Since.Value)
	}
	return k.ring.last(m.Count.Value)
}

func (k *console) moreAsked(c *supervise.Context) {
	for _, s := range k.subscribers {
		if s.pid.Id == c.Sender().Id {
			s.credits = true
			k.give(c, s)
		}
	}
}

// give sends a subscriber the next lines, if there are any and it has asked.
func (k *console) give(c *supervise.Context, s *subscriber) {
	if !s.credits || s.next == k.ring.total {
		return
	}
	lines, missed := k.ring.from(s.next, batchLines)
	s.next += missed + len(lines)
	s.credits = false
	c.Request(s.pid, messages.ConsoleLines{Missed: missed, Lines: lines})
}

// detach forgets a subscriber.
func (k *console) detach(c *supervise.Context, id string) {
	k.subscribers = slices.DeleteFunc(k.subscribers, func(s *subscriber) bool { return s.pid.Id == id })
	if len(k.subscribers) == 0 {
		c.Send(k.host, messages.ConsoleIdle{Name: k.name, Attached: k.attached})
	}
}

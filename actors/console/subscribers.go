package console

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
)

// An attacher is a session that is going to be a subscriber, or that was one of an
// incarnation that has failed.
type attacher struct {
	*subscriber
	ask any // messages.ConsoleAttach, messages.ConsoleResume
}

// A subscriber is a session that receives every line.
type subscriber struct {
	pid     *actor.PID
	reader  *history.Reader
	next    int  // number of the line it gets next
	credit  bool // it has given More
	reading bool // its next lines are being read
	leaves  bool // it wants no lines from until on
	until   int
}

// attachAsked makes the sender a subscriber, once its first line is found.
func (k *console) attachAsked(c *supervise.Context, ask any) {
	a := attacher{&subscriber{pid: c.Sender()}, ask}
	k.returned(a.pid.Id)
	k.waiting = append(k.waiting, a)
	log := k.log
	c.Go(func(context.Context) any { return followed{a, follow(log, ask), log.Empty()} })
}

// follow returns a reader of the lines that a session asks for.
func follow(log *history.Log, ask any) *history.Reader {
	switch m := ask.(type) {
	case messages.ConsoleResume:
		return log.FollowFrom(m.Next)
	case messages.ConsoleAttach:
		if m.Subscribe.Since.OK {
			return log.FollowSince(m.Subscribe.Since.Value)
		}
		return log.FollowLast(m.Subscribe.Count.Value)
	}
	panic("internal error: nobody asks so") // see Handle
}

// attach makes a session a subscriber. One step has decided what it gets of the history, and
// that it gets every line from then on.
func (k *console) attach(c *supervise.Context, m followed) {
	s := m.subscriber
	k.waiting = slices.DeleteFunc(k.waiting, func(a attacher) bool { return a.subscriber == s })
	k.subscribers = append(k.subscribers, s)
	c.Watch(s.pid)
	s.reader, s.next = m.reader, m.reader.Next()
	s.until = k.log.Next()
	switch ask := m.ask.(type) {
	case messages.ConsoleResume:
		k.give(c, s)
	case messages.ConsoleAttach:
		k.answerAttach(c, s, ask, m.empty)
	}
}

// answerAttach answers a new subscriber. If there are too many, the oldest must go.
func (k *console) answerAttach(c *supervise.Context, s *subscriber, m messages.ConsoleAttach, empty bool) {
	if len(k.subscribers) > k.MaxSubscribers {
		oldest := k.subscribers[0].pid
		c.Send(oldest, messages.Detached{Reason: k.fullText()})
		k.detach(c, oldest.Id)
	}
	text := messages.Public("subscribed")
	if k.feed == nil && !k.opening && empty {
		text = "waiting for VM"
	}
	c.Request(s.pid, messages.Answer{ID: m.ID, Payload: messages.SuccessText{Text: text}})
}

// fullText is the reason for a subscriber that a newer one has displaced.
func (k *console) fullText() messages.Public {
	return messages.Publicf("at most %d clients may follow a console, and a newer one has taken the place of this one", k.MaxSubscribers)
}

func (k *console) moreAsked(c *supervise.Context) {
	if s := k.find(c.Sender()); s != nil {
		s.credit = true
		k.give(c, s)
	}
}

// leaveAsked limits a subscriber to the existing lines.
func (k *console) leaveAsked(c *supervise.Context) {
	s := k.find(c.Sender())
	switch {
	case s == nil:
	case s.reader == nil: // attach sets until
		s.leaves = true
	default:
		s.leaves, s.until = true, k.log.Next()
		k.give(c, s)
	}
}

// find returns nil if only an incarnation that has failed knew the subscriber.
func (k *console) find(pid *actor.PID) *subscriber {
	for _, s := range k.subscribers {
		if s.pid.Id == pid.Id {
			return s
		}
	}
	for _, a := range k.waiting {
		if a.pid.Id == pid.Id {
			return a.subscriber
		}
	}
	return nil
}

// giveAll gives subscribers what has come.
func (k *console) giveAll(c *supervise.Context) {
	for _, s := range k.subscribers {
		k.give(c, s)
	}
}

// give reads the next lines for a subscriber, if there are any and it has given credit.
func (k *console) give(c *supervise.Context, s *subscriber) {
	if !s.credit || s.reading || s.reader == nil {
		return
	}
	end := k.log.Next()
	if s.leaves {
		end = s.until
	}
	switch {
	case s.next < end:
		s.reading = true
		c.Go(func(context.Context) any {
			lines, missed := s.reader.Read(end)
			return linesRead{s, lines, missed}
		})
	case s.leaves:
		s.credit = false
		c.Send(s.pid, messages.Detached{}) // it ends now, which detaches it
	}
}

// linesRead sends a subscriber its next lines.
func (k *console) linesRead(c *supervise.Context, m linesRead) {
	s := m.subscriber
	s.reading = false
	if len(m.lines)+m.missed == 0 || !slices.Contains(k.subscribers, s) {
		return
	}
	s.next += m.missed + len(m.lines)
	s.credit = false
	c.Request(s.pid, messages.ConsoleLines{Missed: m.missed, Lines: m.lines})
}

// detach removes a subscriber.
func (k *console) detach(c *supervise.Context, id string) {
	k.returned(id)
	k.subscribers = slices.DeleteFunc(k.subscribers, func(s *subscriber) bool {
		if s.pid.Id != id {
			return false
		}
		c.Go(func(context.Context) any { s.reader.Close(); return nil }) // it may wait for the disk
		return true
	})
	if len(k.subscribers) == 0 {
		k.reportIdle(c)
	}
}

// returned stops waiting for a session, which has come back or has ended.
func (k *console) returned(id string) {
	k.expected = slices.DeleteFunc(k.expected, func(pid *actor.PID) bool { return pid.Id == id })
}

// detachAll tells all readers that nothing more follows, or how to resume with the next
// incarnation.
func (k *console) detachAll(c *supervise.Context, again bool) {
	for _, a := range k.waiting {
		switch m := a.ask.(type) {
		case messages.ConsoleResume:
			k.sendOne(c, a.pid, m.Next, again)
		case messages.ConsoleAttach:
			c.Send(a.pid, messages.Answer{ID: m.ID, Payload: messages.Failure{Text: "cannot read the console: it has just ended; try again"}})
		}
	}
	for _, s := range k.subscribers {
		k.sendOne(c, s.pid, s.next, again)
	}
}

func (k *console) sendOne(c *supervise.Context, pid *actor.PID, next int, again bool) {
	if again {
		k.expected = append(k.expected, pid)
		c.Send(pid, messages.ConsoleLost{Next: next})
		return
	}
	c.Send(pid, messages.Detached{Reason: forgotten})
}

// forgotten is what a subscriber is told where the host has ended the console: there are
// too many at its path, or the host has failed itself. Where the daemon stops, sessions
// have ended before.
const forgotten messages.Public = "the daemon has let go of this console, as its path has no room for one more, or after a failure: follow it again to see what comes"

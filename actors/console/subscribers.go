package console

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/history"
)

// batchLines is how many lines a subscriber gets at once.
const batchLines = 256

// An attacher is a session that is going to be a subscriber, or that was one of an
// incarnation that has failed.
type attacher struct {
	*subscriber
	ask any // messages.ConsoleAttach, messages.ConsoleResume
}

// A subscriber is a session that receives every line.
type subscriber struct {
	pid    *actor.PID
	next   int  // number of the line it gets next
	credit bool // it has given More
	leaves bool // it wants no lines from until on
	until  int
}

// attachAsked makes the sender a subscriber, once there is a ring.
func (k *console) attachAsked(c *supervise.Context, ask any) {
	a := attacher{&subscriber{pid: c.Sender()}, ask}
	k.returned(a.pid.Id)
	if k.ring != nil {
		k.attach(c, a)
		return
	}
	k.waiting = append(k.waiting, a)
	if len(k.waiting) == 1 {
		k.load(c)
	}
}

// load begins a ring with the history. The number of the ring identifies lines that
// follow the history, but arrive before it.
func (k *console) load(c *supervise.Context) {
	k.follower++
	log, follower := k.log, k.follower
	c.Go(func(context.Context) any { lines, next := log.Follow(follower); return ringLoaded{lines, next} })
}

func (k *console) loaded(c *supervise.Context, m ringLoaded) {
	k.ring = newRing(history.Lines, m.next-len(m.lines))
	for _, line := range m.lines {
		k.ring.add(line)
	}
	for _, taken := range k.early {
		k.ring.take(taken)
	}
	waiting := k.waiting
	k.early, k.waiting = nil, nil
	for _, a := range waiting {
		k.attach(c, a)
	}
}

// add adds lines to the ring and serves subscribers that wait for them.
func (k *console) add(c *supervise.Context, taken history.Taken) {
	switch {
	case taken.Follower != k.follower: // for a ring that is gone
	case k.ring == nil:
		k.early = append(k.early, taken)
	default:
		k.ring.take(taken)
	}
	for _, s := range k.subscribers {
		k.give(c, s)
	}
}

// attach makes a session a subscriber. One step decides what it gets of the history, and
// that it gets every line from then on.
func (k *console) attach(c *supervise.Context, a attacher) {
	s := a.subscriber
	k.subscribers = append(k.subscribers, s)
	c.Watch(s.pid)
	s.until = k.ring.total
	switch m := a.ask.(type) {
	case messages.ConsoleResume:
		s.next = min(m.Next, k.ring.total)
		k.give(c, s)
	case messages.ConsoleAttach:
		s.next = k.start(m.Subscribe)
		k.answerAttach(c, s, m)
	}
}

// answerAttach answers a new subscriber. If there are too many, the oldest must go.
func (k *console) answerAttach(c *supervise.Context, s *subscriber, m messages.ConsoleAttach) {
	if len(k.subscribers) > k.MaxSubscribers {
		oldest := k.subscribers[0].pid
		c.Send(oldest, messages.Detached{Reason: k.fullText()})
		k.detach(c, oldest.Id)
	}
	text := messages.Public("subscribed")
	if k.feed == nil && !k.opening && len(k.ring.lines) == 0 {
		text = "waiting for VM"
	}
	c.Request(s.pid, messages.Answer{ID: m.ID, Payload: messages.SuccessText{Text: text}})
}

// fullText is the reason for a subscriber that a newer one has displaced.
func (k *console) fullText() messages.Public {
	return messages.Publicf("at most %d clients may follow a console, and a newer one has taken the place of this one", k.MaxSubscribers)
}

// start returns the number of the first line that a subscription asks for.
func (k *console) start(m messages.ConsoleSubscribe) int {
	if m.Since.OK {
		return k.ring.since(m.Since.Value)
	}
	return k.ring.last(m.Count.Value)
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
	case k.ring == nil: // attach sets until
		s.leaves = true
	default:
		s.leaves, s.until = true, k.ring.total
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

// give sends a subscriber the next lines, if there are any and it has given credit.
func (k *console) give(c *supervise.Context, s *subscriber) {
	if !s.credit || k.ring == nil {
		return
	}
	end := k.ring.total
	if s.leaves {
		end = s.until
	}
	switch {
	case s.next < end:
		lines, missed := k.ring.from(s.next, min(batchLines, end-max(s.next, k.ring.oldest())))
		s.next += missed + len(lines)
		s.credit = false
		c.Request(s.pid, messages.ConsoleLines{Missed: missed, Lines: lines})
	case s.leaves:
		s.credit = false
		c.Send(s.pid, messages.Detached{}) // it ends now, which detaches it
	}
}

// detach removes a subscriber, and with the last one the ring.
func (k *console) detach(c *supervise.Context, id string) {
	k.returned(id)
	k.subscribers = slices.DeleteFunc(k.subscribers, func(s *subscriber) bool { return s.pid.Id == id })
	if len(k.subscribers) > 0 {
		return
	}
	if k.ring != nil {
		k.log.Unfollow()
		k.follower++
		k.ring = nil
	}
	k.reportIdle(c)
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

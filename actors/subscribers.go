package actors

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

// An attacher is a session that is going to be a subscriber.
type attacher struct {
	pid *actor.PID
	ask messages.ConsoleAttach
}

// A subscriber is a session that wants every line.
type subscriber struct {
	pid     *actor.PID
	next    int  // the number of the line it gets next
	credits bool // it has asked for more
}

// attachAsked makes the sender a subscriber, when there is a ring.
func (k *console) attachAsked(c *supervise.Context, m messages.ConsoleAttach) {
	a := attacher{c.Sender(), m}
	if k.ring != nil {
		k.attach(c, a)
		return
	}
	k.waiting = append(k.waiting, a)
	if len(k.waiting) == 1 {
		k.load(c)
	}
}

// load begins a ring with what is remembered. Lines that come behind that, but
// are heard of before, are told by the number of the ring.
func (k *console) load(c *supervise.Context) {
	k.follower++
	log, follower := k.log, k.follower
	c.Go(func(context.Context) any { lines, _ := log.Follow(follower); return ringLoaded{lines} })
}

func (k *console) loaded(c *supervise.Context, m ringLoaded) {
	k.ring = newRing(history.Lines)
	for _, line := range slices.Concat(m.lines, k.early) {
		k.ring.add(line)
	}
	waiting := k.waiting
	k.early, k.waiting = nil, nil
	for _, a := range waiting {
		k.attach(c, a)
	}
}

// add puts lines into the ring and gives them to whoever waits for them.
func (k *console) add(c *supervise.Context, taken history.Taken) {
	switch {
	case taken.Follower != k.follower: // they are for a ring that is not there any more
	case k.ring == nil:
		k.early = append(k.early, taken.Lines...)
	default:
		for _, line := range taken.Lines {
			k.ring.add(line)
		}
	}
	for _, s := range k.subscribers {
		k.give(c, s)
	}
}

// attach makes a session a subscriber. What it gets of the history, and that
// it gets every line from then on, is decided here in one step.
func (k *console) attach(c *supervise.Context, a attacher) {
	k.attached++
	s := &subscriber{pid: a.pid, next: k.start(a.ask.Subscribe)}
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
	c.Request(s.pid, messages.Answer{ID: a.ask.ID, Payload: messages.SuccessText{Text: text}})
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

// detach forgets a subscriber, and with the last one the ring.
func (k *console) detach(c *supervise.Context, id string) {
	k.subscribers = slices.DeleteFunc(k.subscribers, func(s *subscriber) bool { return s.pid.Id == id })
	if len(k.subscribers) > 0 || k.ring == nil {
		return
	}
	k.log.Unfollow()
	k.follower++
	k.ring = nil
	c.Send(k.host, messages.ConsoleIdle{Name: k.name, Attached: k.attached})
}

// sendAway tells all who read that there will be nothing more.
func (k *console) sendAway(c *supervise.Context) {
	for _, a := range k.waiting {
		c.Send(a.pid, messages.Answer{ID: a.ask.ID, Payload: failure("cannot read the console: it has just ended; try again")})
	}
	for _, s := range k.subscribers {
		c.Send(s.pid, messages.ConsoleDetached{})
	}
}

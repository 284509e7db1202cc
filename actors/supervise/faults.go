package supervise

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Fault is something that can go wrong with a message. Within a process a
// message that is sent is handled once, behind those that the same actor has sent
// before: so each fault stands for something that can happen all the same.
type Fault int

const (
	// CrashBefore is a bug that shows before the message has had any effect.
	CrashBefore Fault = iota
	// CrashAfter is a bug that shows when the message has had all of its effects.
	CrashAfter
	// Delay is an actor that gets no processor for a while. Whatever else is
	// queued waits as well.
	Delay
	// Reorder is a sender that gets no processor for a while, so that messages of
	// others come first. Its own ones to the same actor stay in order.
	Reorder
	// Duplicate is a message that is sent again, by an incarnation that does not
	// know what the one before it has sent. It is for messages that may come again.
	Duplicate
	// Drop is a mailbox that is full: whoever asks is told. It is for requests,
	// because all protocols without an answer are bounded, far below that.
	Drop
)

// A Rule says what goes wrong with which messages, and how often.
type Rule struct {
	Fault       Fault
	Kind        string        // of the actor that the message is for; empty: of any
	Messages    []any         // of whose types it is; empty: of any
	Probability float64       // that it goes wrong, where Nth is 0
	Nth         int           // the only one of those messages that goes wrong, from 1 on
	For         time.Duration // how long Delay and Reorder take
}

// Faults are what goes wrong in a system, on purpose. Which of the messages that
// a rule is for meet it depends on the seed only: what other rules do, and in
// which order actors get a processor, does not matter.
type Faults struct {
	before func(actor string, message any)

	mu    sync.Mutex // guards all below
	seed  uint64
	rules []*drawn
}

// drawn is a rule, and how often it has been looked at.
type drawn struct {
	Rule
	random *rand.Rand
	seen   int
	met    int
}

// NewFaults makes faults without rules. Where before is not nil it is called with
// the name of the actor before each message is handled, and its panic is one of
// the actor.
func NewFaults(seed uint64, before func(actor string, message any)) *Faults {
	return &Faults{seed: seed, before: before}
}

// Set has these rules hold from now on, and no others.
func (f *Faults) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for i, r := range rules {
		f.rules = append(f.rules, &drawn{Rule: r, random: rand.New(rand.NewPCG(f.seed, uint64(i)))})
	}
}

// Met returns how often something has gone wrong by the rules that hold.
func (f *Faults) Met() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.rules {
		n += d.met
	}
	return n
}

// meets reports whether a fault happens to a message, and for how long.
func (f *Faults) meets(fault Fault, kind string, message any) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.rules {
		if d.Fault == fault && d.isFor(kind, message) && d.draw() {
			return d.For, true
		}
	}
	return 0, false
}

func (r Rule) isFor(kind string, message any) bool {
	if r.Kind != "" && r.Kind != kind {
		return false
	}
	for _, m := range r.Messages {
		if reflect.TypeOf(m) == reflect.TypeOf(message) {
			return true
		}
	}
	return len(r.Messages) == 0
}

// draw reports whether the next message that a rule is for meets it.
func (d *drawn) draw() bool {
	d.seen++
	hit := d.seen == d.Nth
	if d.Nth == 0 {
		hit = d.random.Float64() < d.Probability
	}
	if hit {
		d.met++
	}
	return hit
}

// middleware has one actor of a kind meet faults.
func (f *Faults) middleware(s *System, kind string) []actor.PropsOption {
	l := &lanes{system: s, behind: map[string][]func(){}}
	return []actor.PropsOption{
		actor.WithReceiverMiddleware(l.flushAtEnd, f.receiver(kind)),
		actor.WithSenderMiddleware(f.sender(l)),
	}
}

// receiver has an actor of a kind meet faults when it handles messages.
func (f *Faults) receiver(kind string) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(rc actor.ReceiverContext, envelope *actor.MessageEnvelope) {
			s := rc.Actor().(*shell)
			message, ok := s.sees(envelope.Message)
			if !ok {
				next(rc, envelope)
				return
			}
			asker, who := envelope.Sender, rc.Self().Id
			s.call(message, asker, func() { f.strikeBefore(who, kind, message) })
			next(rc, envelope)
			if _, ok := f.meets(Duplicate, kind, message); ok {
				next(rc, envelope)
			}
			s.call(message, asker, func() { f.crash(CrashAfter, kind, message) })
		}
	}
}

// strikeBefore is what goes wrong before a message is handled.
func (f *Faults) strikeBefore(who, kind string, message any) {
	if f.before != nil {
		f.before(who, message)
	}
	if d, ok := f.meets(Delay, kind, message); ok {
		time.Sleep(d)
	}
	f.crash(CrashBefore, kind, message)
}

func (f *Faults) crash(fault Fault, kind string, message any) {
	if _, ok := f.meets(fault, kind, message); ok {
		panic("injected")
	}
}

// sender has what an actor sends meet faults on its way.
func (f *Faults) sender(l *lanes) actor.SenderMiddleware {
	s := l.system
	return func(next actor.SenderFunc) actor.SenderFunc {
		return func(sc actor.SenderContext, target *actor.PID, envelope *actor.MessageEnvelope) {
			kind := s.population.kind(target.Id)
			if _, ok := f.meets(Drop, kind, envelope.Message); ok {
				s.onRefused(envelope)
				return
			}
			d, late := f.meets(Reorder, kind, envelope.Message)
			l.send(target.Id, d, late, func() { next(sc, target, envelope) })
		}
	}
}

// lanes are what one actor sends, by whom it is for: what is late holds up what
// comes behind it.
type lanes struct {
	system *System

	mu     sync.Mutex
	behind map[string][]func() // not sent yet, first what is late
}

func (l *lanes) send(to string, d time.Duration, late bool, send func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, held := l.behind[to]
	switch {
	case held:
		l.behind[to] = append(l.behind[to], send)
	case late:
		l.behind[to] = []func(){send}
		l.system.clock.AfterFunc(d, func() { l.flush(to) })
	default:
		send()
	}
}

// flushAtEnd sends what has been held up before anybody is told that the actor has
// ended: nobody hears of it after that.
func (l *lanes) flushAtEnd(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(rc actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		if _, ok := envelope.Message.(*actor.Stopped); ok {
			for _, to := range l.held() {
				l.flush(to)
			}
		}
		next(rc, envelope)
	}
}

func (l *lanes) held() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.behind))
}

// flush sends what has been held up.
func (l *lanes) flush(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, send := range l.behind[to] {
		send()
	}
	delete(l.behind, to)
}

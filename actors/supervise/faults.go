package supervise

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Fault is something that can go wrong with a message. Within a process a message is
// delivered once, and those of one sender in order: so each fault stands for something
// that can happen all the same.
type Fault int

const (
	// CrashBefore is a bug before the message has had any effect.
	CrashBefore Fault = iota
	// CrashAfter is a bug after the message has had all of its effects.
	CrashAfter
	// Delay is an actor that gets no processor for a while. Its whole queue waits.
	Delay
	// Reorder is a sender that gets no processor for a while, so that messages of others
	// come first. Its own ones to the same actor stay in order.
	Reorder
	// Duplicate is a message that a new incarnation sends again because it does not know
	// what the former one has sent. It is for messages that may come again.
	Duplicate
	// Drop is a full mailbox; the sender gets Undeliverable. It is for requests, since
	// all protocols without answers are bounded far below that.
	Drop
)

// faultsByName are all of them, by the names that a file has for them.
var faultsByName = map[string]Fault{
	"crash-before": CrashBefore, "crash-after": CrashAfter, "delay": Delay,
	"reorder": Reorder, "duplicate": Duplicate, "drop": Drop,
}

func (f Fault) String() string {
	for name, is := range faultsByName {
		if is == f {
			return name
		}
	}
	return fmt.Sprintf("fault %d", int(f))
}

// ParseFault returns the fault with a name.
func ParseFault(name string) (Fault, error) {
	f, ok := faultsByName[name]
	if !ok {
		return 0, fmt.Errorf("there is no fault %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(faultsByName)), ", "))
	}
	return f, nil
}

// A Rule says what goes wrong with which messages, and how often.
type Rule struct {
	Fault       Fault
	Kind        string        // of the receiving actor; empty: any
	Messages    []any         // values of its possible types; empty: any
	Type        string        // of the message, as Go prints it: messages.StoreWrite; empty: any
	Probability float64       // of the fault, if Nth is 0
	Nth         int           // the only such message with the fault, from 1 on
	For         time.Duration // the duration of Delay and Reorder
}

// Faults injects faults into a system. Which messages of a rule are hit depends on the
// seed only, not on other rules or on the order in which actors get a processor.
type Faults struct {
	before func(actor string, message any)

	mu    sync.Mutex // guards all below
	told  func(Injected)
	seed  uint64
	rules []*drawn
}

// drawn is a rule, and how often it has been drawn.
type drawn struct {
	Rule
	random *rand.Rand
	seen   int
	met    int
}

// NewFaults returns faults without rules. If before is not nil, it is called with the
// name of the actor before each message is handled; its panic is one of the actor.
func NewFaults(seed uint64, before func(actor string, message any)) *Faults {
	return &Faults{seed: seed, before: before}
}

// An Injected says which fault a message has met. Actor is the kind of its receiver.
type Injected struct {
	Fault Fault
	Actor string
	Type  string // of the message, as Go prints it
}

// Tell has told called for each fault that is injected. It must not wait for an actor.
func (f *Faults) Tell(told func(Injected)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = told
}

// Reseed has the rules that are set next draw from another seed.
func (f *Faults) Reseed(seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seed = seed
}

// Set replaces all rules.
func (f *Faults) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for i, r := range rules {
		f.rules = append(f.rules, &drawn{Rule: r, random: rand.New(rand.NewPCG(f.seed, uint64(i)))})
	}
}

// Injected returns how many faults the current rules have injected.
func (f *Faults) Injected() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.rules {
		n += d.met
	}
	return n
}

// hits reports whether a fault hits a message, and for how long.
func (f *Faults) hits(fault Fault, kind string, message any) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.rules {
		if d.Fault == fault && d.isFor(kind, message) && d.draw() {
			if f.told != nil {
				f.told(Injected{fault, kind, reflect.TypeOf(message).String()})
			}
			return d.For, true
		}
	}
	return 0, false
}

func (r Rule) isFor(kind string, message any) bool {
	if r.Kind != "" && r.Kind != kind || r.Type != "" && r.Type != reflect.TypeOf(message).String() {
		return false
	}
	for _, m := range r.Messages {
		if reflect.TypeOf(m) == reflect.TypeOf(message) {
			return true
		}
	}
	return len(r.Messages) == 0
}

// draw reports whether the rule hits its next message.
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

// middleware returns what injects faults into one actor of a kind.
func (f *Faults) middleware(s *System, kind string) []actor.PropsOption {
	l := &lanes{system: s, behind: map[string][]func(){}}
	return []actor.PropsOption{
		actor.WithReceiverMiddleware(l.flushAtEnd, f.receiver(kind)),
		actor.WithSenderMiddleware(f.sender(l)),
	}
}

// receiver injects faults when an actor of a kind handles messages.
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
			s.call(message, asker, func() { f.injectBefore(who, kind, message) })
			next(rc, envelope)
			if _, ok := f.hits(Duplicate, kind, message); ok {
				next(rc, envelope)
			}
			s.call(message, asker, func() { f.crash(CrashAfter, kind, message) })
		}
	}
}

// injectBefore injects the faults before a message is handled.
func (f *Faults) injectBefore(who, kind string, message any) {
	if f.before != nil {
		f.before(who, message)
	}
	if d, ok := f.hits(Delay, kind, message); ok {
		time.Sleep(d)
	}
	f.crash(CrashBefore, kind, message)
}

func (f *Faults) crash(fault Fault, kind string, message any) {
	if _, ok := f.hits(fault, kind, message); ok {
		panic("injected")
	}
}

// sender injects faults into what an actor sends.
func (f *Faults) sender(l *lanes) actor.SenderMiddleware {
	s := l.system
	return func(next actor.SenderFunc) actor.SenderFunc {
		return func(sc actor.SenderContext, target *actor.PID, envelope *actor.MessageEnvelope) {
			kind := s.population.kind(target.Id)
			if _, ok := f.hits(Drop, kind, envelope.Message); ok {
				s.onRefused(envelope)
				return
			}
			d, late := f.hits(Reorder, kind, envelope.Message)
			l.send(target.Id, d, late, func() { next(sc, target, envelope) })
		}
	}
}

// lanes hold what one actor sends, by receiver: a late message holds up those after it.
type lanes struct {
	system *System

	mu     sync.Mutex
	behind map[string][]func() // not sent yet, the late one first
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

// flushAtEnd sends what was held up before the end of the actor is announced: afterwards
// nobody would receive it.
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

// flush sends what was held up.
func (l *lanes) flush(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, send := range l.behind[to] {
		send()
	}
	delete(l.behind, to)
}

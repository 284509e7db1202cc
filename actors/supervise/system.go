package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A Clock is the actors' source of time, so that a test can drive it.
type Clock struct {
	Now func() time.Time
	// AfterFunc calls f on a goroutine of its own after d, unless stop was called before.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// WallClock returns the real time.
func WallClock() Clock {
	return Clock{
		Now: time.Now,
		AfterFunc: func(d time.Duration, f func()) func() bool {
			return time.AfterFunc(d, f).Stop
		},
	}
}

// OnFailure says what happens to an actor that panics.
type OnFailure int

// The strategies for actors without a parent. Children are always restarted.
const (
	Restart OnFailure = iota // after a pause, for ever
	Stop
)

// A System is a set of actors and all goroutines and timers they have started.
type System struct {
	clock      Clock
	log        *slog.Logger
	actors     *actor.ActorSystem
	restart    *restarting
	stop       *stopping
	population *population
	faults     *Faults // nil: none are injected

	serial  atomic.Uint64  // of names, incarnations and requests
	running sync.WaitGroup // the goroutines of Context.Go
	bugs    atomic.Int64   // what was logged as our own bug

	mu    sync.Mutex
	roots map[string]*Ref // actors without a parent that have not ended, by id
}

// New returns a system without actors.
func New(clock Clock, log *slog.Logger) *System {
	s := &System{
		clock:      clock,
		log:        log,
		population: newPopulation(),
		roots:      map[string]*Ref{},
	}
	s.restart = &restarting{clock: clock, failed: s.failed, failures: map[string]failures{}}
	s.stop = &stopping{failed: s.failed}
	s.actors = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet(log) }),
		// A message to an actor that has ended is late, not lost, and a request is
		// answered: protoactor need not log them. A short interval makes the goroutines
		// of its throttle end soon.
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
	s.actors.EventStream.Subscribe(s.onDeadLetter)
	return s
}

// InjectFaults must be called before any actor is spawned. Without it there is no
// middleware.
func (s *System) InjectFaults(f *Faults) { s.faults = f }

// A Ref is an actor without a parent.
type Ref struct {
	system *System
	pid    *actor.PID
	ended  chan struct{} // closed when it has ended
}

// Spawn starts an actor without a parent. Its name need not be unique.
func (s *System) Spawn(name string, producer func() Actor, onFailure OnFailure) (*Ref, error) {
	ref := &Ref{system: s, ended: make(chan struct{})}
	guardian := actor.WithGuardian(s.restart)
	if onFailure == Stop {
		guardian = actor.WithGuardian(s.stop)
	}
	// Registered before it runs, so that Shutdown misses none.
	id := s.unique(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, err := s.actors.Root.SpawnNamed(s.props(id, name, producer, nil, func() { s.forget(id, ref) }, guardian), id)
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot spawn %s: %w", id, err)
	}
	ref.pid = pid
	s.roots[id] = ref
	return ref, nil
}

func (s *System) forget(id string, ref *Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.roots, id)
	close(ref.ended)
}

// PID returns the address of the actor.
func (r *Ref) PID() *actor.PID { return r.pid }

// Send puts a message into the actor's mailbox.
func (r *Ref) Send(message any) { r.system.actors.Root.Send(r.pid, message) }

// Stop stops the actor and its children, and waits until they have ended.
func (r *Ref) Stop(ctx context.Context) error {
	r.system.actors.Root.Stop(r.pid)
	return r.Wait(ctx)
}

// Wait waits until the actor and its children have ended.
func (r *Ref) Wait(ctx context.Context) error {
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot stop actor %s: %w", r.pid.Id, ctx.Err())
	}
}

// Shutdown stops all actors and waits for them and their goroutines. Its error names what
// has not ended by the deadline of ctx.
func (s *System) Shutdown(ctx context.Context) error {
	var errs []error
	for _, ref := range s.snapshot() {
		errs = append(errs, ref.Stop(ctx))
	}
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("cannot wait for the goroutines of actors: %w", ctx.Err()))
	}
	return errors.Join(errs...)
}

func (s *System) snapshot() []*Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	refs := make([]*Ref, 0, len(s.roots))
	for _, ref := range s.roots {
		refs = append(refs, ref)
	}
	return refs
}

// Bugs counts what was logged as a bug of our own: failed actors, unknown messages, full
// mailboxes. Tests require it to be zero.
func (s *System) Bugs() int { return int(s.bugs.Load()) }

func (s *System) bug(text string, attrs ...any) {
	s.bugs.Add(1)
	s.log.Error("Internal error: "+text, attrs...)
}

// failed counts and logs the failure of an actor.
func (s *System) failed(who *actor.PID, reason any, attrs ...any) {
	s.population.fail(who.Id)
	logFailure(s.log, who, reason, attrs...)
}

// props returns the properties of one actor, with injected faults.
func (s *System) props(id, name string, producer func() Actor, parent *work, ended func(), options ...actor.PropsOption) *actor.Props {
	if s.faults != nil {
		options = append(options, s.faults.middleware(s, kindOf(name))...)
	}
	return s.faultless(id, name, producer, parent, ended, options...)
}

// faultless returns properties without injected faults. They are not shared, because the
// mailbox must be closed when the actor has ended.
func (s *System) faultless(id, name string, producer func() Actor, parent *work, ended func(), options ...actor.PropsOption) *actor.Props {
	box := &mailbox{overflow: s.onOverflow, refuse: s.onRefused}
	s.population.enter(id, name, box)
	end := func() {
		box.close()
		s.population.leave(id)
		ended()
	}
	var last *work
	stopped := new(bool)
	return actor.PropsFromProducer(
		func() actor.Actor {
			former := last
			last = &work{parent: parent}
			return newShell(s, producer(), last, former, stopped, end)
		},
		append(options,
			actor.WithSupervisor(s.restart),
			actor.WithMailbox(func() actor.Mailbox { return box }),
		)...,
	)
}

// unique returns a name that no actor has had before, so that a stale address never
// reaches a successor.
func (s *System) unique(name string) string {
	return fmt.Sprintf("%s#%d", name, s.serial.Add(1))
}

func (s *System) onOverflow(message any) {
	s.bug("mailbox full, message dropped", slog.String("message", typeOf(message)))
	s.onRefused(message)
}

// onRefused answers a request to an actor that has ended or whose mailbox is full.
func (s *System) onRefused(message any) {
	if _, request, sender := actor.UnwrapEnvelope(message); sender != nil {
		s.actors.Root.Send(sender, Undeliverable{Message: request})
	}
}

// onDeadLetter answers a request to an actor that had ended before. Protoactor answers it,
// too, but does not say what it was. It runs on the goroutine of whoever has sent it.
func (s *System) onDeadLetter(event any) {
	if letter, ok := event.(*actor.DeadLetterEvent); ok && letter.Sender != nil {
		s.actors.Root.Send(letter.Sender, Undeliverable{Message: letter.Message})
	}
}

func typeOf(message any) string {
	_, inner, _ := actor.UnwrapEnvelope(message)
	return fmt.Sprintf("%T", inner)
}

// quiet passes on protoactor's warnings and errors: this package logs the rest better.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(warnings{log.Handler()}) }

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

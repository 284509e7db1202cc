package host

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/actors/meter"
	"albatross/actors/store"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fair"
	"albatross/runtime/history"
	watched "albatross/runtime/machine"
)

// TestSimulation runs hosts and unikernels many times on a machine that is made up, in a time that
// is made up, too: the time passes when all goroutines wait for it. Every step of the machine takes
// a while, and may fail, so that events come in any order. Actors crash, the disk fails, daemons
// are stopped and killed, and clients ask for everything meanwhile. The simulation notes what must
// not happen where it happens: see violate. When all has calmed down, what is on record runs, and
// nothing else is there.
//
// The seed that rapid prints decides what happens, except for the order of what happens at the very
// same time.
func TestSimulation(t *testing.T) {
	setFlags(t)
	dir, begin, lives, checks := t.TempDir(), time.Now(), 0, 0
	var failed []string
	defer func() { t.Log(strings.Join(failed, "\n")) }()
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			s := newSimulation(rt, rapid.Uint64().Draw(rt, "luck"), dir, 2, &failed)
			defer func() { lives, checks = lives+s.lives, checks+1 }()
			defer s.abandon()
			rt.Repeat(map[string]func(*rapid.T){
				"create":       s.create,
				"create again": s.create,
				"replace":      s.replace,
				"restart":      s.restart,
				"destroy":      s.destroy,
				"stop":         s.stopOne,
				"start":        s.startOne,
				"rename":       s.renameOne,
				"rollback":     s.rollback,
				"query":        s.query,
				"policy":       s.changePolicy,
				"wait":         s.wait,
				"wait again":   s.wait,
				"wait longer":  s.wait,
				"attack":       s.attack,
				"trouble":      s.trouble,
				"":             s.check,
			})
			s.rest()
		})
	})
	t.Logf("%d lives on %d machines, %.0f lives a second", lives, checks, float64(lives)/time.Since(begin).Seconds())
}

// setFlags makes the simulation short, and the same each time, unless the command line says
// otherwise.
func setFlags(t *testing.T) {
	require.NoError(t, flag.Set("rapid.steps", "150"))
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["rapid.checks"] && !given["rapid.seed"] {
		require.NoError(t, flag.Set("rapid.checks", "20"))
		require.NoError(t, flag.Set("rapid.seed", "4"))
	}
}

// inBubble calls do where time is made up. A failure of rapid is a panic, which must leave the
// bubble by itself.
func inBubble(t *testing.T, do func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer time.Sleep(time.Second) // the last goroutines of protoactor end
		defer func() { failure = recover() }()
		do()
	})
	switch {
	case failure == nil:
	case fmt.Sprintf("%T", failure) == "rapid.invalidData":
		panic(failure) // no failure: rapid recognises that by the line of the panic
	default:
		panic(failure)
	}
}

// A tester is a testing.T or a rapid.T.
type tester interface {
	require.TestingT
	Fatal(...any)
}

// A simulation is one machine, and all that happens on it.
type simulation struct {
	t        tester
	failed   *[]string // the trace of the last simulation that has failed
	dir      string
	versions int // former ones that stay on record
	luck     uint64
	dice     dice
	system   *supervise.System
	faults   *supervise.Faults
	store    *supervise.Ref
	host     *supervise.Ref
	newest   *host // the last incarnation of the host
	os       *fakeMachine

	mu       sync.Mutex               // guards all below
	slow     map[string]time.Duration // steps that always take this long
	failing  string                   // the step that always fails
	calm     bool                     // nothing more goes wrong or takes long
	disk     disk
	faulty   bool      // actors meet faults
	troubled time.Time // the last time that something was in trouble
	trace    []string
	wrong    string // the first violation
	lives    int
	requests []*request

	// What is on the machine.
	serial    int
	boot      string
	processes map[int]*process
	last      map[messages.Name]*process // the last process of a name that has ended
	taps      map[messages.Link]*tap
	pipes     map[messages.Name]bool
	cgroups   map[messages.Name]bool
	images    map[messages.Digest]bool

	// What is on disk.
	records  map[messages.Name]messages.Record
	put      map[messages.Name]time.Time // when it was put on record
	policies map[messages.Path]messages.Policy
	ends     map[messages.Name]messages.End
	events   uint64

	// What is known from outside.
	granted map[messages.Path]messages.Option[messages.Policy] // as answered; no entry: not known
	began   map[string]time.Time                               // when the process of a request last began
	pauses  map[messages.Name]time.Duration                    // the pause before its last restart
	formers map[string]bool                                    // requests whose unikernels have been replaced
}

// A request is a command that a client has given.
type request struct {
	name     messages.Name
	command  messages.Command
	tag      string // in the arguments of the unikernel that it creates
	at       time.Time
	answered time.Time // zero: not yet
	answers  int
	lost     bool // its outcome is unknown
	payload  messages.Payload
}

// concerns reports whether a command is about a name.
func (r *request) concerns(name messages.Name) bool {
	rename, _ := r.command.(messages.RenameRequest)
	return r.name == name || rename.To == name
}

// grace is the time between SIGTERM and SIGKILL.
const grace = 5 * time.Second

// machineHas is the policy of the root.
var machineHas = messages.Policy{Unikernels: 6, CPUIDs: []int{0, 1}, Memory: 256, Block: messages.Some(1), Bridges: []string{"br0"}}

func newSimulation(t tester, luck uint64, dir string, versions int, failed *[]string) *simulation {
	s := &simulation{
		t: t, dir: dir, versions: versions, failed: failed, luck: luck, slow: map[string]time.Duration{}, dice: dice{thrown: map[string]uint64{}}, disk: works, boot: "first boot",
		processes: map[int]*process{}, last: map[messages.Name]*process{}, taps: map[messages.Link]*tap{},
		pipes: map[messages.Name]bool{}, cgroups: map[messages.Name]bool{}, images: map[messages.Digest]bool{},
		records: map[messages.Name]messages.Record{}, put: map[messages.Name]time.Time{},
		policies: map[messages.Path]messages.Policy{}, ends: map[messages.Name]messages.End{},
		granted: map[messages.Path]messages.Option[messages.Policy]{},
		began:   map[string]time.Time{}, pauses: map[messages.Name]time.Duration{}, formers: map[string]bool{},
	}
	s.faults = supervise.NewFaults(s.luck, nil)
	s.system = supervise.New(supervise.WallClock(), slog.New(slog.NewTextHandler(writer{s}, &slog.HandlerOptions{Level: slog.LevelInfo})))
	s.system.InjectFaults(s.faults)
	s.start()
	return s
}

// dice draw what happens by chance. In simulations with the same luck, the same throw has the same
// result.
type dice struct {
	mu     sync.Mutex
	thrown map[string]uint64
}

// draw returns a number below n.
func (s *simulation) draw(name messages.Name, what string, n uint64) uint64 {
	key := what + name.String()
	s.dice.mu.Lock()
	s.dice.thrown[key]++
	count := s.dice.thrown[key]
	s.dice.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprint(h, s.luck, key, count)
	sum := h.Sum64()
	sum ^= sum >> 31
	return sum * 0x9e3779b97f4a7c15 >> 11 % n
}

// duration returns how long a step takes: mostly a short time.
func (s *simulation) duration(name messages.Name, what string) time.Duration {
	if d, ok := s.slow[what]; ok {
		return d
	}
	longest := time.Millisecond
	if !s.calm {
		switch s.draw(name, what+" is slow", 16) {
		case 0:
			longest = 12 * time.Second
		case 1, 2:
			longest = 2 * time.Second
		case 3, 4, 5, 6:
			longest = 50 * time.Millisecond
		}
	}
	return time.Duration(s.draw(name, what+" takes", uint64(longest))) + 1
}

// pause waits as long as a step takes.
func (s *simulation) pause(ctx context.Context, name messages.Name, what string) error {
	s.mu.Lock()
	d := s.duration(name, what)
	s.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note adds to the trace, which a failure prints.
func (s *simulation) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%11.6f ", time.Since(epoch).Seconds())+fmt.Sprintf(format, args...))
}

// epoch is the time at which a bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// violate notes what must not happen.
func (s *simulation) violate(format string, args ...any) {
	s.note("WRONG: "+format, args...)
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

// A writer is the log of the daemon. It accepts only those messages of internal errors that are
// made on purpose.
type writer struct{ s *simulation }

func (w writer) Write(line []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	text := strings.TrimSpace(string(line))
	if i := strings.Index(text, "stack="); i > 0 && strings.Contains(text, "reason=injected") {
		text = text[:i]
	}
	w.s.note("log: %s", text)
	if strings.Contains(text, `"Internal error`) && !strings.Contains(text, "reason=injected") {
		w.s.violate("the daemon has logged a bug: %s", text)
	}
	return len(line), nil
}

// start starts a daemon.
func (s *simulation) start() {
	s.os = &fakeMachine{simulation: s, pins: map[messages.Digest]int{}}
	consoles, err := history.Open(s.dir, time.Now)
	require.NoError(s.t, err)
	counts := meter.New("simulated")
	config := &Config{
		History: consoles, Console: s.os.newConsole, Machine: s.os,
		RootPolicy: machineHas,
		Measure:    func() (messages.Policy, error) { return machineHas, nil },
		Watch:      func() ([]*watched.Watch, error) { return nil, nil },
		Meter:      counts, Work: fair.New(4),
		Grace: grace, Trial: Trial, Versions: s.versions, MaxSubscribers: 5, StatsInterval: time.Minute,
	}
	events := s.spawn("events", func() supervise.Actor { return ignorant{} })
	s.store = s.spawn("store", store.New(database{s.os}, counts, events.PID()))
	hosts := New(config, s.store.PID())
	s.host = s.spawn("host", func() supervise.Actor {
		h := hosts().(*host)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.newest, s.os.recovers = h, h.began == messages.DaemonRecovers
		return h
	})
}

func (s *simulation) spawn(name string, producer func() supervise.Actor) *supervise.Ref {
	ref, err := s.system.Spawn(name, producer, supervise.Restart)
	require.NoError(s.t, err)
	return ref
}

// An ignorant is an actor that does nothing.
type ignorant struct{}

func (ignorant) Started(*supervise.Context)        {}
func (ignorant) Handle(*supervise.Context, any)    {}
func (ignorant) Stopping(*supervise.Context, bool) {}

// plenty is memory that is always there.
type plenty struct{}

func (plenty) Reserve(int64) error { return nil }

// An asker is a client with one request.
type asker struct {
	*simulation
	host    *actor.PID
	request *request
	id      uint64
}

func (a *asker) Started(c *supervise.Context) {
	a.id = c.NewID()
	c.Request(a.host, messages.Ask{ID: a.id, Name: a.request.name, Command: a.request.command, Memory: plenty{}})
}

func (a *asker) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.Answer:
		a.hear(a.request, m.Payload)
	case supervise.Crashed, supervise.Undeliverable:
		a.hear(a.request, nil)
	default:
		c.Unknown(message)
	}
}

func (a *asker) Stopping(*supervise.Context, bool) {}

func (s *simulation) ask(name messages.Name, command messages.Command, tag string) {
	s.mu.Lock()
	r := &request{name: name, command: command, tag: tag, at: time.Now()}
	s.requests = append(s.requests, r)
	s.note("%v: ask for %T %s", name, command, tag)
	s.mu.Unlock()
	s.spawn("session", func() supervise.Actor { return &asker{simulation: s, host: s.host.PID(), request: r} })
	time.Sleep(s.patience(name))
}

// patience returns how long it takes until there is another command: often the one before has been
// answered by then.
func (s *simulation) patience(name messages.Name) time.Duration {
	if !s.calm && s.draw(name, "a client is patient", 2) == 0 {
		return 10 * time.Second
	}
	return s.duration(name, "a client waits")
}

// hear notes an answer. Nil stands for a host that has failed.
func (s *simulation) hear(r *request, payload messages.Payload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("%v: answer to %T %s: %.300v", r.name, r.command, r.tag, payload)
	if r.answers++; r.answers > 1 {
		if s.quiet(r.at) {
			s.violate("%v: a second answer to %T", r.name, r.command)
		}
		return
	}
	if r.lost {
		return
	}
	r.payload, r.lost = payload, payload == nil || lostText(payload)
	r.answered = time.Now()
	s.checkAnswer(r)
}

// lostText reports whether an answer says that the outcome of the command is unknown.
func lostText(payload messages.Payload) bool {
	f, ok := payload.(messages.Failure)
	return ok && strings.HasPrefix(string(f.Text), "internal error: ")
}

// quiet reports whether nothing has been in trouble since a time.
func (s *simulation) quiet(since time.Time) bool {
	return !s.faulty && s.disk == works && s.troubled.Before(since)
}

// stop stops the daemon. What is not on record is lost.
func (s *simulation) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.try(s.host.Stop(ctx))
	time.Sleep(10 * time.Millisecond) // some messages are late
	s.mu.Lock()
	for _, r := range s.requests {
		if r.answered.IsZero() {
			s.violate("%v: %T was not answered when the daemon stopped", r.name, r.command)
		}
	}
	s.mu.Unlock()
	s.try(s.system.Shutdown(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.os.pins) > 0 || s.os.handles > 0 {
		s.violate("a daemon that has stopped leaves pins of %v and %d handles", s.os.pins, s.os.handles)
	}
	for _, p := range s.processes {
		if p.gated {
			s.violate("%v: a daemon that has stopped leaves a process at its gate", p.name)
		}
	}
	for _, t := range s.taps {
		if t.owner != nil {
			s.violate("%v: a daemon that has stopped leaves a tap that is not kept", t.name)
		}
	}
	s.os.dead, s.troubled = true, time.Now()
}

func (s *simulation) try(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violate("%v", err)
}

// kill kills the daemon.
func (s *simulation) kill() {
	s.os.die()
	s.mu.Lock()
	for _, r := range s.requests {
		if r.answered.IsZero() {
			r.answered, r.lost = time.Now(), true
		}
	}
	s.note("the daemon is killed")
	s.troubled = time.Now()
	s.mu.Unlock()
	s.abandon()
}

// abandon ends all actors.
func (s *simulation) abandon() {
	s.faults.Set()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	_ = s.system.Shutdown(ctx)
}

// check fails the test if a violation has been noted.
func (s *simulation) check(*rapid.T) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong != "" {
		*s.failed = s.trace
		s.t.Fatal(s.wrong)
	}
}

// rest waits until all is calm, and checks what is left. Then it destroys all, and checks that
// nothing is left.
func (s *simulation) rest() {
	s.calmDown()
	s.check(nil)
	s.checkRest()
	s.check(nil)
	for _, name := range someNames {
		s.ask(name, messages.UnikernelDestroy{}, "")
	}
	time.Sleep(5 * time.Minute)
	s.mu.Lock()
	if len(s.records)+len(s.processes) > 0 {
		s.violate("after all was destroyed there is something on record: %v", s.records)
	}
	s.mu.Unlock()
	s.checkRest()
	s.stop()
	s.check(nil)
}

func (s *simulation) calmDown() {
	s.faults.Set()
	s.mu.Lock()
	s.calm, s.faulty, s.disk, s.troubled = true, false, works, time.Now()
	s.note("all calms down")
	s.mu.Unlock()
	time.Sleep(10 * time.Minute)
}

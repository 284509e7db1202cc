package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fifo"
)

// The host decides: it is the only writer of the ledger and knows who runs. A
// create is reserved in the ledger in one step, then the unikernel actor does
// the slow work, and then the host commits or releases. All that it knows is on
// disk or in its children's hands: after a failure it starts from there.
type host struct {
	config *Config
	store  *actor.PID

	ledger   *ledger.Ledger
	tenants  map[messages.Name]*tenant
	consoles *consoles
	images   map[messages.Digest]int // how many current runs need each
	open     map[ticket]asker        // commands that have not been answered
	tickets  ticket                  // ever given
	runs     uint64                  // ever made

	booted bool
	early  []ask // commands that came before
}

// What the host's goroutines and timers tell it.
type (
	swept struct {
		records []messages.Record
		errs    []error
	}
	retryLoad struct{}
)

func (h *host) Started(c *supervise.Context) {
	h.ledger = ledger.New()
	h.ledger.SetPolicy(messages.Root, h.config.RootPolicy)
	h.tenants = map[messages.Name]*tenant{}
	h.images = map[messages.Digest]int{}
	h.open = map[ticket]asker{}
	h.consoles = newConsoles(h.config)
	h.load(c)
}

func (h *host) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.Ask:
		h.asked(c, m)
	case messages.StoreLoaded:
		h.loaded(c, m)
	case swept:
		h.swept(c, m)
	case retryLoad:
		h.load(c)
	case messages.UnikernelPrepared:
		h.prepared(c, m)
	case messages.UnikernelRunning:
		h.running(c, m)
	case messages.UnikernelWaiting:
		h.rests(m)
	case messages.UnikernelFailed:
		h.failed(c, m)
	case messages.UnikernelGone:
		h.gone(c, m)
	case messages.UnikernelRestarted:
		h.restarted(c, m)
	case messages.ConsoleRestarted:
		if t := h.tenants[m.Name]; t != nil && t.current != nil {
			c.Send(t.current.pid, m)
		}
	case messages.ConsoleIdle:
		h.consoles.idle(c, m)
	case imageRead:
		h.imageRead(c, m)
	case supervise.Crashed, supervise.Undeliverable: // the store: nothing else is asked
		c.After(retryAfter, retryLoad{})
	case supervise.Terminated: // a child that was stopped
	default:
		c.Unknown(message)
	}
}

// Stopping answers everybody who waits. The unikernels go on without us.
func (h *host) Stopping(c *supervise.Context, _ bool) {
	for t := range h.open {
		h.answer(c, t, failure("internal error: the daemon stopped while it handled this; ask what has become of it"))
	}
}

// load asks for what a former daemon, or a former incarnation, has recorded.
func (h *host) load(c *supervise.Context) { c.Request(h.store, messages.StoreLoad{}) }

func (h *host) loaded(c *supervise.Context, m messages.StoreLoaded) {
	if m.Err != "" {
		c.Log().Error("Cannot load the state", "error", m.Err)
		c.After(retryAfter, retryLoad{})
		return
	}
	config := h.config
	c.Go(func(context.Context) any { return swept{m.Records, config.sweep(m.Records)} })
}

// sweep frees what belongs to nobody on record: images and FIFOs that a crash
// has left behind. Nothing that is not ours is in these directories.
func (g *Config) sweep(records []messages.Record) []error {
	images := map[messages.Digest]bool{}
	fifos := map[string]bool{}
	for _, r := range records {
		images[r.Spec.Digest] = true
		fifos[fifo.Path(g.FIFODir, r.Name)] = true
	}
	_, err := g.Images.Collect(func(d messages.Digest) bool { return images[d] })
	errs := []error{err}
	entries, err := os.ReadDir(g.FIFODir)
	errs = append(errs, err)
	for _, e := range entries {
		if n, err := messages.ParseName(e.Name()); err == nil && !fifos[fifo.Path(g.FIFODir, n)] {
			errs = append(errs, fifo.Remove(fifo.Path(g.FIFODir, n)))
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// swept takes over all that is on record, lowest startup first, and then the
// commands that have come meanwhile.
func (h *host) swept(c *supervise.Context, m swept) {
	for _, err := range m.errs {
		c.Log().Error("Cannot clean up", "error", err)
	}
	slices.SortFunc(m.records, func(a, b messages.Record) int {
		if d := a.Spec.Arguments.Startup.Or(messages.DefaultStartup) - b.Spec.Arguments.Startup.Or(messages.DefaultStartup); d != 0 {
			return d
		}
		return a.Name.Compare(b.Name)
	})
	for _, record := range m.records {
		h.resume(c, record)
	}
	h.booted = true
	early := h.early
	h.early = nil
	for _, a := range early {
		h.do(c, a)
	}
}

func (h *host) resume(c *supervise.Context, record messages.Record) {
	h.ledger.Hold(record.Name, record.Spec.Arguments)
	t := &tenant{phase: settled}
	h.tenants[record.Name] = t
	h.setCurrent(t, h.spawn(c, record.Name, record.Spec))
	if record.Runtime.OK {
		t.current.started = record.Runtime.Value.Started()
	}
	c.Send(t.current.pid, messages.UnikernelResume{Record: record})
}

// setCurrent makes r what runs.
func (h *host) setCurrent(t *tenant, r *run) {
	t.current = r
	h.images[r.spec.Digest]++
}

// spawn makes a unikernel actor and the console that it prints to.
func (h *host) spawn(c *supervise.Context, name messages.Name, spec messages.Spec) *run {
	h.runs++
	number, again := h.runs, false
	console := h.consoles.forTenant(c, name, h.ledger)
	host, store, config := c.Self(), h.store, h.config
	pid := c.Child("unikernel/"+name.String(), func() supervise.Actor {
		u := &unikernel{config: config, name: name, run: number, again: again, host: host, store: store, console: console}
		again = true
		return u
	})
	return &run{number: number, pid: pid, spec: spec}
}

// asked takes a command. From here on it is answered exactly once.
func (h *host) asked(c *supervise.Context, m messages.Ask) {
	if subscribe, ok := m.Command.(messages.ConsoleSubscribe); ok {
		h.subscribe(c, m, subscribe)
		return
	}
	h.tickets++
	h.open[h.tickets] = asker{c.Sender(), m.ID}
	a := ask{h.tickets, m.Name, m.Command}
	if !h.booted {
		h.early = append(h.early, a)
		return
	}
	h.do(c, a)
}

func (h *host) answer(c *supervise.Context, t ticket, payload messages.Payload) {
	a, ok := h.open[t]
	if !ok {
		panic(fmt.Sprintf("internal error: ticket %d has been answered", t))
	}
	delete(h.open, t)
	c.Send(a.pid, messages.Answer{ID: a.id, Payload: payload})
}

func failure(text string) messages.Failure     { return messages.Failure{Text: text} }
func success(text string) messages.SuccessText { return messages.SuccessText{Text: text} }

// subscribe passes a subscription on to the console, which answers it.
func (h *host) subscribe(c *supervise.Context, m messages.Ask, subscribe messages.ConsoleSubscribe) {
	if m.Name.IsPath() {
		c.Respond(messages.Answer{ID: m.ID, Payload: failure("path used instead of name")})
		return
	}
	console := h.consoles.forSubscriber(c, m.Name)
	c.RequestWithCustomSender(console, messages.ConsoleAttach{ID: m.ID, Subscribe: subscribe}, c.Sender())
}

// do carries out a command, or has it wait for the one under way at its name.
func (h *host) do(c *supervise.Context, a ask) {
	switch command := a.command.(type) {
	case messages.UnikernelInfo:
		h.answer(c, a.ticket, messages.SuccessInfos{Form: command.Form, List: h.infos(a.name)})
	case messages.PolicyInfo:
		h.answer(c, a.ticket, messages.SuccessPolicies{List: h.ledger.Policies(a.name)})
	case messages.UnikernelGet:
		h.get(c, a, command)
	case messages.UnikernelCreate, messages.UnikernelRestart, messages.UnikernelDestroy:
		h.change(c, a)
	default:
		h.answer(c, a.ticket, failure("unknown command"))
	}
}

// change carries out a command that changes a tenant.
func (h *host) change(c *supervise.Context, a ask) {
	t := h.tenants[a.name]
	if t != nil && t.phase != settled {
		t.waiting = append(t.waiting, a)
		return
	}
	switch command := a.command.(type) {
	case messages.UnikernelCreate:
		h.create(c, a, t, command)
	case messages.UnikernelRestart:
		h.restart(c, a, t, command)
	case messages.UnikernelDestroy:
		h.destroy(c, a, t)
	}
}

func (h *host) create(c *supervise.Context, a ask, t *tenant, command messages.UnikernelCreate) {
	if err := creatable(a.name, command.Config); err != nil {
		h.answer(c, a.ticket, failure(err.Error()))
		return
	}
	m := messages.UnikernelPrepare{
		Spec:       messages.Spec{Type: command.Config.Type, Arguments: command.Config.Arguments},
		Image:      command.Config.Image,
		Compressed: command.Config.Compressed,
	}
	if t != nil && command.Force {
		h.replace(c, a, t, m)
		return
	}
	if err := h.ledger.Reserve(a.name, m.Spec.Arguments); err != nil {
		h.answer(c, a.ticket, failure(err.Error()))
		return
	}
	t = &tenant{}
	h.tenants[a.name] = t
	h.check(c, a, t, m)
}

// maxName is the longest name of a file, which the console is.
const maxName = 255

// creatable refuses what can be seen to be wrong at once.
func creatable(name messages.Name, config messages.Config) error {
	switch {
	case name.IsPath():
		return fmt.Errorf("cannot create a unikernel at the path %s: give it a name", name)
	case len(name.String()) > maxName:
		return fmt.Errorf("cannot create a unikernel with a name of %d bytes: at most %d are possible", len(name.String()), maxName)
	case config.Type != messages.Solo5:
		return fmt.Errorf("cannot run a %s unikernel: this host runs solo5 only", config.Type)
	case len(config.Image) == 0:
		return errors.New("cannot create a unikernel: its image is empty")
	}
	return startable(config.Arguments)
}

// startable refuses arguments that no tender could be started with.
func startable(args messages.Arguments) error {
	if len(args.CPUIDs) == 0 {
		return errors.New("cannot run without a CPU: give one at least")
	}
	for _, arg := range args.Argv.Value {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("cannot pass the argument %q: it contains a zero byte", arg)
		}
	}
	return nil
}

// restart replaces a unikernel by itself, with other arguments where they are
// given. They are checked in full before it is touched.
func (h *host) restart(c *supervise.Context, a ask, t *tenant, command messages.UnikernelRestart) {
	if t == nil {
		h.answer(c, a.ticket, failure("destroy: not found"))
		return
	}
	spec := t.current.spec
	if command.Args.OK {
		spec.Arguments = command.Args.Value
		spec.NameRefused = false
	}
	if err := startable(spec.Arguments); err != nil {
		h.answer(c, a.ticket, failure(err.Error()))
		return
	}
	h.replace(c, a, t, messages.UnikernelPrepare{Spec: spec})
}

func (h *host) replace(c *supervise.Context, a ask, t *tenant, m messages.UnikernelPrepare) {
	if err := h.ledger.ReserveNext(a.name, m.Spec.Arguments); err != nil {
		h.answer(c, a.ticket, failure(err.Error()))
		return
	}
	h.check(c, a, t, m)
}

// check makes a new run and has its image checked.
func (h *host) check(c *supervise.Context, a ask, t *tenant, m messages.UnikernelPrepare) {
	t.phase = checking
	t.ask = ask{ticket: a.ticket, name: a.name} // the image is not kept
	t.next = h.spawn(c, a.name, m.Spec)
	c.Send(t.next.pid, m)
}

func (h *host) prepared(c *supervise.Context, m messages.UnikernelPrepared) {
	t := h.tenants[m.Name]
	switch {
	case t == nil || t.phase != checking || t.next.number != m.Run: // it has been given up
	case t.current != nil:
		t.phase = switching
		t.next.spec = m.Spec
		c.Send(t.current.pid, messages.UnikernelStop{KeepSpec: true})
	default:
		t.next.spec = m.Spec
		h.launch(c, t)
	}
}

func (h *host) launch(c *supervise.Context, t *tenant) {
	t.phase = launching
	c.Send(t.next.pid, messages.UnikernelStart{})
}

func (h *host) running(c *supervise.Context, m messages.UnikernelRunning) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.current != nil && t.current.number == m.Run: // started again, or taken over
		t.current.spec = m.Spec
		t.current.started = m.Started
		t.current.resting = false
	case t.phase == launching && t.next.number == m.Run:
		h.ledger.Commit(m.Name)
		t.next.spec, t.next.started = m.Spec, m.Started
		h.setCurrent(t, t.next)
		t.next = nil
		h.answer(c, t.ask.ticket, success("created unikernel"))
		h.settle(c, m.Name, t)
	}
}

func (h *host) rests(m messages.UnikernelWaiting) {
	if t := h.tenants[m.Name]; t != nil && t.current != nil && t.current.number == m.Run {
		t.current.resting = true
	}
}

func (h *host) destroy(c *supervise.Context, a ask, t *tenant) {
	if t == nil {
		h.answer(c, a.ticket, failure("destroy: not found"))
		return
	}
	t.phase = destroying
	t.ask = a
	c.Send(t.current.pid, messages.UnikernelStop{})
}

// gone is the end of a run that has been started.
func (h *host) gone(c *supervise.Context, m messages.UnikernelGone) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
		return
	case t.next != nil && t.next.number == m.Run: // its actor has failed at the very start
		h.failed(c, messages.UnikernelFailed{Name: m.Name, Run: m.Run, Digest: t.next.spec.Digest, Text: failedStarting})
		return
	case t.current == nil || t.current.number != m.Run:
		return
	}
	ended := t.current
	t.current = nil
	c.Stop(ended.pid)
	h.images[ended.spec.Digest]--
	switch t.phase {
	case checking: // it has ended by itself; prepared goes on
	case switching:
		h.switched(c, m.Name, t, ended)
	case destroying:
		text := "destroyed unikernel"
		if ended.resting {
			text = "destroyed: removed from restarting"
		}
		h.answer(c, t.ask.ticket, success(text))
		h.settle(c, m.Name, t)
	default:
		h.settle(c, m.Name, t)
	}
	h.collect(c, ended.spec.Digest)
}

// failedStarting is for a client whose command was lost by a bug of ours.
const failedStarting = "internal error: the daemon failed while it started the unikernel; its log tells more"

// switched starts what replaces a run that has ended, or that one again where
// its successor has failed meanwhile.
func (h *host) switched(c *supervise.Context, name messages.Name, t *tenant, ended *run) {
	if t.next != nil {
		h.launch(c, t)
		return
	}
	h.setCurrent(t, h.spawn(c, name, ended.spec))
	c.Send(t.current.pid, messages.UnikernelResume{Record: messages.Record{Name: name, Spec: ended.spec}})
	h.settle(c, name, t)
}

// failed is the end of a run that has not been started.
func (h *host) failed(c *supervise.Context, m messages.UnikernelFailed) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.current != nil && t.current.number == m.Run: // nothing was on record when it recovered
		h.gone(c, messages.UnikernelGone{Name: m.Name, Run: m.Run})
	case t.next != nil && t.next.number == m.Run:
		t.next.spec.Digest = m.Digest
		h.dropNext(c, m.Name, t, m.Text)
		h.settle(c, m.Name, t)
	}
}

// dropNext answers a command whose unikernel could not be started.
func (h *host) dropNext(c *supervise.Context, name messages.Name, t *tenant, text string) {
	ended := t.next
	t.next = nil
	c.Stop(ended.pid)
	h.ledger.Release(name)
	h.answer(c, t.ask.ticket, failure(text))
	h.collect(c, ended.spec.Digest)
}

// settle ends the command under way, forgets a tenant without anything that
// runs, and goes on with the command that waits longest.
func (h *host) settle(c *supervise.Context, name messages.Name, t *tenant) {
	t.phase = settled
	t.ask = ask{}
	waiting := t.waiting
	t.waiting = nil
	if t.current == nil {
		h.ledger.Release(name)
		delete(h.tenants, name)
		h.consoles.tenantGone(name, c.Now())
	}
	for _, a := range waiting {
		h.change(c, a)
	}
}

// collect removes the image of a run that has ended, if no other needs it. One
// that is being prepared has pinned it.
func (h *host) collect(c *supervise.Context, digest messages.Digest) {
	if h.images[digest] > 0 {
		return
	}
	delete(h.images, digest)
	images, log := h.config.Images, c.Log()
	c.Go(func(context.Context) any {
		if _, err := images.Remove(digest); err != nil {
			log.Error("Cannot remove image", "image", digest, "error", err)
		}
		return nil
	})
}

// collectAll removes all images that no run needs.
func (h *host) collectAll(c *supervise.Context) {
	images, log, used := h.config.Images, c.Log(), maps.Clone(h.images)
	c.Go(func(context.Context) any {
		if _, err := images.Collect(func(d messages.Digest) bool { return used[d] > 0 }); err != nil {
			log.Error("Cannot remove images", "error", err)
		}
		return nil
	})
}

// restarted tells a unikernel actor that has failed what it is about.
func (h *host) restarted(c *supervise.Context, m messages.UnikernelRestarted) {
	h.collectAll(c) // its image may be in the store without us knowing which it is
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.current != nil && t.current.number == m.Run:
		c.Send(t.current.pid, messages.UnikernelRecover{})
		switch t.phase {
		case destroying:
			c.Send(t.current.pid, messages.UnikernelStop{})
		case switching:
			c.Send(t.current.pid, messages.UnikernelStop{KeepSpec: true})
		}
	case t.next == nil || t.next.number != m.Run:
	case t.phase == launching:
		c.Send(t.next.pid, messages.UnikernelRecover{Abandon: true})
	case t.phase == switching: // the old one ends; switched starts it again
		h.dropNext(c, m.Name, t, failedStarting)
	default:
		h.dropNext(c, m.Name, t, failedStarting)
		h.settle(c, m.Name, t)
	}
}

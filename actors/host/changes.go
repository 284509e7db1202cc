package host

import (
	"errors"
	"fmt"
	"strings"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/actors/unikernel"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// change carries out a command that changes a tenant.
func (h *host) change(c *supervise.Context, a ask) {
	t := h.tenants[a.name]
	switch {
	case t == nil:
	case t.unstored() != "":
		h.changeUnstored(c, a, t)
		return
	case t.phase != settled:
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
	if t != nil && !command.Force {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(ledger.ErrRunning)})
		return
	}
	if err := creatable(a.name, command.Config); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	m := messages.UnikernelPrepare{
		Spec:       messages.Spec{Type: command.Config.Type, Arguments: command.Config.Arguments},
		Image:      command.Config.Image,
		Compressed: command.Config.Compressed,
		Cause:      messages.CommandCause(command),
	}
	if t != nil {
		h.replace(c, a, t, m)
		return
	}
	m.Joins = h.ledger.NewStations(a.name, m.Spec.Arguments)
	if err := h.ledger.Reserve(a.name, m.Spec.Arguments); err != nil {
		h.refuse(c, a, err)
		return
	}
	failpoint.Here("change/reserved")
	t = &tenant{}
	h.tenants[a.name] = t
	h.check(c, a, t, m)
}

// nameable refuses an impossible name.
func nameable(what string, name messages.Name) error {
	switch {
	case name.IsPath():
		return fmt.Errorf("cannot create %s at the path %s: give it a name", what, name)
	case len(name.String()) > messages.MaxFileName:
		return fmt.Errorf("cannot create %s with a name of %d bytes: at most %d are possible", what, len(name.String()), messages.MaxFileName)
	}
	return nil
}

// creatable refuses what is evidently wrong.
func creatable(name messages.Name, config messages.Config) error {
	if err := nameable("a unikernel", name); err != nil {
		return err
	}
	switch {
	case config.Type != messages.Solo5:
		return fmt.Errorf("cannot run a %s unikernel: this host runs solo5 only", config.Type)
	case len(config.Image) == 0:
		return errors.New("cannot create a unikernel: its image is empty")
	}
	return startable(config.Arguments)
}

// startable refuses arguments with which no tender could be started.
func startable(args messages.Arguments) error {
	if len(args.CPUIDs) == 0 {
		return errors.New("cannot run without a CPU: give one at least")
	}
	for i, arg := range args.Argv.Value {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("cannot pass argument %d: it contains a zero byte", i+1) // the argument may be a secret
		}
	}
	for _, b := range args.Blocks {
		if err := deviceable(b.Name, b.Device, messages.CheckText); err != nil {
			return fmt.Errorf("cannot attach block device: %w", err)
		}
	}
	for _, n := range args.Networks {
		if err := deviceable(n.Name, n.Bridge, messages.CheckInterface); err != nil {
			return fmt.Errorf("cannot attach network: %w", err)
		}
		if err := n.Address(messages.Name{}).Usable(); err != nil {
			return err
		}
	}
	if len(args.LinuxBoot.Value) > messages.MaxFileName {
		return fmt.Errorf("cannot boot from a partition with a name of %d bytes: at most %d are possible", len(args.LinuxBoot.Value), messages.MaxFileName)
	}
	return nil
}

// deviceable refuses impossible names of a device, in the manifest or of the host.
func deviceable(name string, host messages.Option[string], check func(string) error) error {
	if err := messages.CheckText(name); err != nil || !host.OK {
		return err
	}
	return check(host.Value)
}

// restart replaces a unikernel by itself, maybe with other arguments. They are checked
// completely before the unikernel is stopped.
func (h *host) restart(c *supervise.Context, a ask, t *tenant, command messages.UnikernelRestart) {
	if t == nil {
		h.answer(c, a.ticket, messages.Failure{Text: "destroy: not found"})
		return
	}
	spec := t.current.spec.Proven()
	if command.Args.OK {
		spec.Arguments = command.Args.Value
		spec.NameRefused = false
	}
	if err := startable(spec.Arguments); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	h.replace(c, a, t, messages.UnikernelPrepare{Spec: spec, Cause: messages.CommandCause(command)})
}

func (h *host) replace(c *supervise.Context, a ask, t *tenant, m messages.UnikernelPrepare) {
	m.Joins = h.ledger.NewStations(a.name, m.Spec.Arguments)
	if err := h.ledger.ReserveNext(a.name, m.Spec.Arguments); err != nil {
		h.refuse(c, a, err)
		return
	}
	failpoint.Here("change/next-reserved")
	h.check(c, a, t, m)
}

// check makes a new run, which checks its image.
func (h *host) check(c *supervise.Context, a ask, t *tenant, m messages.UnikernelPrepare) {
	t.phase = checking
	t.ask = ask{ticket: a.ticket, name: a.name} // without the command, to free the image
	t.cause = m.Cause
	_, t.creates = a.command.(messages.UnikernelCreate)
	t.next = h.spawn(c, a.name, m.Spec)
	c.Send(t.next.pid, m)
	failpoint.Here("change/check-asked")
}

func (h *host) prepared(c *supervise.Context, m messages.UnikernelPrepared) {
	t := h.tenants[m.Name]
	switch {
	case t == nil || t.phase != checking || t.next.number != m.Run: // it was given up
	case t.unstored() != "":
		h.dropNext(c, m.Name, t)
		h.startFailed(c, m.Name, t, t.unstored())
	case t.current != nil:
		t.phase = switching
		t.next.spec = m.Spec
		c.Send(t.current.pid, messages.UnikernelStop{KeepSpec: true, Cause: t.cause})
		failpoint.Here("change/switch-asked")
	default:
		t.next.spec = m.Spec
		h.launch(c, t)
	}
}

// launch starts the next run.
func (h *host) launch(c *supervise.Context, t *tenant) {
	t.phase = launching
	h.consoles.begin(c, t.ask.name, h.ledger)
	c.Send(t.next.pid, messages.UnikernelStart{Creates: t.creates || t.former == nil, Former: t.replaced()})
	failpoint.Here("change/start-asked")
}

func (h *host) running(c *supervise.Context, m messages.UnikernelRunning) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.current != nil && t.current.number == m.Run: // started again, or taken over
		h.respec(c, t.current, m.Spec)
		t.current.started, t.current.restarts = m.Started, m.Restarts
		t.current.wait, t.current.unstored = messages.Option[messages.Wait]{}, ""
		h.watch(c, t.current, m)
		h.restored(c, m.Name, t, "the one before was started again")
	case t.phase == launching && t.next.number == m.Run:
		h.ledger.Commit(m.Name)
		failpoint.Here("change/committed")
		t.next.spec, t.next.started, t.next.restarts = m.Spec, m.Started, m.Restarts
		h.setCurrent(t, t.next)
		t.next = nil
		h.watch(c, t.current, m)
		h.answer(c, t.ask.ticket, messages.SuccessText{Text: "created unikernel"})
		failpoint.Here("change/creation-told")
		h.settle(c, m.Name, t)
	}
}

func (h *host) rests(c *supervise.Context, m messages.UnikernelWaiting) {
	h.consoles.ended(m.Name, m.End)
	if t := h.tenants[m.Name]; t != nil && t.current != nil && t.current.number == m.Run {
		t.current.unstored = ""
		t.current.rest(c.Now(), m.Cause)
		c.Send(h.stats, messages.StatsForget{Name: m.Name})
		h.restored(c, m.Name, t, "the one before waits to be started again: "+m.Cause)
	}
}

func (h *host) destroy(c *supervise.Context, a ask, t *tenant) {
	if t == nil {
		h.answer(c, a.ticket, messages.Failure{Text: "destroy: not found"})
		return
	}
	t.phase = destroying
	t.ask = a
	t.cause = messages.CommandCause(a.command)
	c.Send(t.current.pid, messages.UnikernelStop{Cause: t.cause})
	failpoint.Here("change/end-asked")
}

// gone handles the end of a run that was started.
func (h *host) gone(c *supervise.Context, m messages.UnikernelGone) {
	h.consoles.ended(m.Name, m.End)
	t := h.tenants[m.Name]
	switch {
	case t == nil:
		return
	case t.next != nil && t.next.number == m.Run: // its actor has failed at the very start
		h.failed(c, messages.UnikernelFailed{Name: m.Name, Run: m.Run, Digest: t.next.spec.Digest, Text: messages.FailedStarting})
		return
	case t.current == nil || t.current.number != m.Run:
		return
	}
	ended := t.current
	t.current = nil
	c.Stop(ended.pid)
	c.Send(h.stats, messages.StatsForget{Name: m.Name})
	failpoint.Here("change/ended")
	if m.Left != nil {
		h.need(m.Left.Spec)
	}
	h.unneed(c, ended.spec)
	switch {
	case t.phase == switching && t.next != nil:
		t.former = m.Left
		h.launch(c, t)
	case t.phase == halted: // the next daemon starts it
		h.settle(c, m.Name, t)
	case m.Left != nil:
		h.comeBack(c, m.Name, t, m.Left, m.Why)
	default:
		h.ended(c, m.Name, t, ended)
	}
}

// ended ends a run of which nothing is left.
func (h *host) ended(c *supervise.Context, name messages.Name, t *tenant, ended *run) {
	switch t.phase {
	case checking: // it has ended by itself; prepared continues
		return
	case switching:
		h.answerAsk(c, t, messages.Failure{Text: t.refusal})
	case restoring:
		h.answerAsk(c, t, messages.Failure{Text: t.refusal + "; the one before is gone, too"})
	case destroying:
		text := messages.Public("destroyed unikernel")
		if ended.wait.OK {
			text = "destroyed: removed from restarting"
		}
		h.answerAsk(c, t, messages.SuccessText{Text: text})
		failpoint.Here("change/destruction-told")
	}
	h.settle(c, name, t)
}

// failed handles the end of a run that was not started.
func (h *host) failed(c *supervise.Context, m messages.UnikernelFailed) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.current != nil && t.current.number == m.Run: // nothing was on record when it recovered
		h.gone(c, messages.UnikernelGone{Name: m.Name, Run: m.Run})
	case t.next != nil && t.next.number == m.Run:
		t.next.spec.Digest = m.Digest
		h.dropNext(c, m.Name, t)
		h.startFailed(c, m.Name, t, m.Text)
	}
}

// dropNext drops a run that could not be started.
func (h *host) dropNext(c *supervise.Context, name messages.Name, t *tenant) {
	ended := t.next
	t.next = nil
	c.Stop(ended.pid)
	h.ledger.Release(name)
	h.collect(c, ended.spec.Digest)
}

// startFailed ends a command whose unikernel could not be started, once the former is
// started again.
func (h *host) startFailed(c *supervise.Context, name messages.Name, t *tenant, text messages.Public) {
	t.refusal = text
	switch {
	case t.phase == switching: // current is being stopped; gone continues
	case t.former != nil:
		former := t.former
		t.former = nil
		h.comeBack(c, name, t, former, messages.SuccessorFailed+": "+text)
	default:
		h.answerAsk(c, t, messages.Failure{Text: text})
		failpoint.Here("change/refusal-told")
		h.settle(c, name, t)
	}
}

// settle ends the command under way, removes a tenant without a run, and continues with
// the longest waiting command.
func (h *host) settle(c *supervise.Context, name messages.Name, t *tenant) {
	t.phase = settled
	t.ask, t.refusal = ask{}, ""
	waiting := t.waiting
	t.waiting = nil
	if t.current == nil {
		h.ledger.Release(name)
		delete(h.tenants, name)
		h.consoles.tenantGone(c, name)
	}
	if t.former != nil { // from now on, current decides alone about its former
		former := t.former
		t.former = nil
		h.unneed(c, former.Spec)
	}
	failpoint.Here("change/settled")
	if h.halter != nil {
		t.waiting = waiting
		h.halt(c, t)
		h.tellHalted(c)
		return
	}
	for _, a := range waiting {
		h.change(c, a)
	}
}

// setCurrent makes r the current run.
func (h *host) setCurrent(t *tenant, r *run) {
	t.current = r
	h.need(r.spec)
}

// respec notes that a run has another spec on disk.
func (h *host) respec(c *supervise.Context, r *run, spec messages.Spec) {
	former := r.spec
	r.spec = spec
	h.need(spec)
	h.unneed(c, former)
}

// spawn makes a unikernel actor and its console.
func (h *host) spawn(c *supervise.Context, name messages.Name, spec messages.Spec) *run {
	h.runs++
	config := h.config
	pid := c.Child("unikernel/"+name.String(), unikernel.New(unikernel.Config{
		Name: name, Run: h.runs, Host: c.Self(), Store: h.store, Console: h.consoles.forTenant(c, name),
		Machine: config.Machine, Meter: config.Meter, Work: config.Work,
		Grace: config.Grace, Trial: config.Trial,
	}))
	return &run{number: h.runs, pid: pid, spec: spec}
}

// restarted tells a unikernel actor that has failed how to continue.
func (h *host) restarted(c *supervise.Context, m messages.UnikernelRestarted) {
	h.collectStale(c) // an unknown image of its may be in the store
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.current != nil && t.current.number == m.Run:
		c.Send(t.current.pid, messages.UnikernelRecover{})
		switch t.phase {
		case destroying:
			c.Send(t.current.pid, messages.UnikernelStop{Cause: t.cause})
		case switching, halted:
			c.Send(t.current.pid, messages.UnikernelStop{KeepSpec: true, Cause: t.cause})
		}
	case t.next == nil || t.next.number != m.Run:
	case t.phase == launching:
		c.Send(t.next.pid, messages.UnikernelRecover{Abandon: true, Former: t.replaced()})
	default:
		h.dropNext(c, m.Name, t)
		h.startFailed(c, m.Name, t, messages.FailedStarting)
	}
}

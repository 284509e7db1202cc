package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/actors/unikernel"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// change carries out a command that changes what runs under a name.
func (h *host) change(c *supervise.Context, a ask) {
	s := h.slots[a.name]
	switch {
	case s == nil:
	case s.unstored() != "":
		h.changeUnstored(c, a, s)
		return
	case s.phase != settled:
		s.waiting = append(s.waiting, a)
		return
	}
	switch command := a.command.(type) {
	case messages.UnikernelCreate:
		h.create(c, a, s, command)
	case messages.UnikernelRestart:
		h.restart(c, a, s, command)
	case messages.UnikernelDestroy:
		h.destroy(c, a, s)
	case messages.StopRequest:
		h.stop(c, a, s)
	case messages.StartRequest:
		h.start(c, a, s)
	case messages.RollbackRequest:
		h.rollback(c, a, s, command.Number)
	case messages.RenameRequest:
		h.rename(c, a, s, command.To)
	case messages.PublishAdd, messages.PublishRemove:
		h.publish(c, a, s)
	case messages.OwnRequest:
		h.ownUnikernel(c, a, s)
	}
}

func (h *host) create(c *supervise.Context, a ask, s *slot, command messages.UnikernelCreate) {
	if s != nil && !command.Force {
		h.answer(c, a.ticket, messages.Failure{Text: taken(c, a.name, s)})
		return
	}
	if err := errors.Join(creatable(a.name, command.Config), a.owner.Check()); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	args, owner := command.Config.Arguments, a.owner
	if s != nil {
		if err := mayOwn(messages.KindUnikernel, a.name, s.current.spec.Owner, owner); err != nil {
			h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
			return
		}
		owner = owner.Or(s.current.spec.Owner)
	}
	if s != nil && !a.whole {
		args = withUnsaid(args, s.current.spec.Arguments)
	}
	args, err := h.ledger.Assign(a.name, args)
	if err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	m := messages.UnikernelPrepare{
		Spec:       messages.Spec{Type: command.Config.Type, Arguments: args, Owner: owner, By: messages.Some(a.by)},
		Image:      command.Config.Image,
		Compressed: command.Config.Compressed,
		Cause:      messages.CommandCause(command),
	}
	if s != nil {
		h.replace(c, a, s, m)
		return
	}
	m.Joins = h.ledger.NewStations(a.name, m.Spec.Arguments)
	if err := h.ledger.Reserve(a.name, m.Spec.Arguments); err != nil {
		h.refuse(c, a, err)
		return
	}
	failpoint.Here("change/reserved")
	s = &slot{}
	h.slots[a.name] = s
	h.check(c, a, s, m)
}

// taken returns why nothing new can be created under the name of a slot.
func taken(c *supervise.Context, name messages.Name, s *slot) messages.Public {
	if s.current.spec.IsStopped() {
		return messages.Publicf("cannot create %s: a unikernel of this name is stopped: start it, destroy it, or replace it with --force", name)
	}
	return c.Public(ledger.ErrRunning)
}

// withUnsaid returns arguments of a native message with what such a message has no word for: it
// stays as it was, for a device that stays on its network.
func withUnsaid(args, former messages.Arguments) messages.Arguments {
	if len(former.Networks) == 0 { // its health is checked without
		args.Health = former.Health
	}
	args.Networks = slices.Clone(args.Networks)
	for i := range args.Networks {
		n := &args.Networks[i]
		at := slices.IndexFunc(former.Networks, func(o messages.Network) bool { return o.Name == n.Name && o.OnBridge() == n.OnBridge() })
		if at < 0 {
			continue
		}
		n.IP, n.Static, n.Rate = former.Networks[at].IP, former.Networks[at].Static, former.Networks[at].Rate
		if i == 0 && at == 0 {
			args.Publish, args.Health = former.Publish, former.Health
		}
	}
	return args
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
	if args.Health.OK {
		if err := args.Health.Value.Usable(); err != nil {
			return err
		}
	}
	if args.Origin.OK {
		if err := args.Origin.Value.Usable(); err != nil {
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
func (h *host) restart(c *supervise.Context, a ask, s *slot, command messages.UnikernelRestart) {
	if s == nil {
		h.answer(c, a.ticket, messages.Failure{Text: "destroy: not found"})
		return
	}
	spec := s.current.spec.ToRun()
	if command.Args.OK {
		args := command.Args.Value
		if !a.whole {
			args = withUnsaid(args, spec.Arguments)
		}
		if a.keepArgv {
			args.Argv = spec.Arguments.Argv
		}
		args.Origin = spec.Arguments.Origin // of its image, which stays
		spec.Arguments = args
		spec.NameRefused, spec.By = false, messages.Some(a.by)
	}
	h.runAgain(c, a, s, spec)
}

// runAgain replaces a unikernel by one of the same image.
func (h *host) runAgain(c *supervise.Context, a ask, s *slot, spec messages.Spec) {
	if err := startable(spec.Arguments); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	args, err := h.ledger.Assign(a.name, spec.Arguments)
	if err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	spec.Arguments, spec.Owner = args, s.current.spec.Owner
	h.replace(c, a, s, messages.UnikernelPrepare{Spec: spec, Cause: messages.CommandCause(a.command)})
}

func (h *host) replace(c *supervise.Context, a ask, s *slot, m messages.UnikernelPrepare) {
	m.Joins = h.ledger.NewStations(a.name, m.Spec.Arguments)
	if err := h.ledger.ReserveNext(a.name, m.Spec.Arguments); err != nil {
		h.refuse(c, a, err)
		return
	}
	s.exit = h.endedBefore(a.name, s.current)
	failpoint.Here("change/next-reserved")
	h.check(c, a, s, m)
}

// endedBefore returns how a run has ended that waits to be started again, or is stopped.
func (h *host) endedBefore(name messages.Name, r *run) (exit messages.Option[messages.Exit]) {
	console := h.consoles.byName[name]
	if (r.wait.OK || r.spec.IsStopped()) && console != nil && console.end.OK {
		exit = messages.Some(console.end.Value.Exit)
	}
	return exit
}

// check makes a new run, which checks its image.
func (h *host) check(c *supervise.Context, a ask, s *slot, m messages.UnikernelPrepare) {
	s.phase = checking
	s.ask = ask{ticket: a.ticket, name: a.name} // without the command, to free the image
	s.cause = m.Cause
	_, s.creates = a.command.(messages.UnikernelCreate)
	s.next = h.spawn(c, a.name, m.Spec)
	h.useImages(m.Spec) // until it has one pinned, and while it may be on record
	c.Send(s.next.pid, m)
	failpoint.Here("change/check-asked")
}

func (h *host) prepared(c *supervise.Context, m messages.UnikernelPrepared) {
	s := h.slots[m.Name]
	switch {
	case s == nil || s.phase != checking || s.next.number != m.Run: // it was given up
	case s.unstored() != "":
		h.respec(c, s.next, m.Spec)
		h.dropNext(c, m.Name, s)
		h.startFailed(c, m.Name, s, s.unstored())
	case s.current != nil:
		s.phase = switching
		h.respec(c, s.next, m.Spec)
		c.Send(s.current.pid, messages.UnikernelStop{KeepSpec: true, Cause: s.cause})
		failpoint.Here("change/switch-asked")
	default:
		h.respec(c, s.next, m.Spec)
		h.launch(c, s)
	}
}

// launch starts the next run.
func (h *host) launch(c *supervise.Context, s *slot) {
	s.phase = launching
	h.consoles.begin(c, s.ask.name, h.ledger)
	c.Send(s.next.pid, messages.UnikernelStart{Creates: s.creates || s.former == nil, Former: s.replaced(), Exit: s.exit})
	failpoint.Here("change/start-asked")
}

func (h *host) running(c *supervise.Context, m messages.UnikernelRunning) {
	s := h.slots[m.Name]
	switch {
	case s == nil:
	case s.current != nil && s.current.number == m.Run: // started again, or taken over
		h.respec(c, s.current, m.Spec)
		s.current.started, s.current.restarts, s.current.health = m.Started, m.Restarts, messages.Health{}
		s.current.wait, s.current.unstored = messages.Option[messages.Wait]{}, ""
		h.watch(c, s.current, m)
		h.restored(c, m.Name, s, "the one before was started again")
	case s.phase == launching && s.next.number == m.Run:
		h.ledger.Commit(m.Name)
		failpoint.Here("change/committed")
		h.respec(c, s.next, m.Spec)
		s.next.started, s.next.restarts = m.Started, m.Restarts
		s.current, s.next = s.next, nil
		h.watch(c, s.current, m)
		h.answer(c, s.ask.ticket, messages.SuccessText{Text: "created unikernel"})
		failpoint.Here("change/creation-told")
		h.verifyImages(c, []messages.Digest{m.Spec.Digest})
		h.settle(c, m.Name, s)
	}
}

func (h *host) willRestart(c *supervise.Context, m messages.UnikernelWaiting) {
	h.consoles.ended(m.Name, m.End)
	if s := h.slots[m.Name]; s != nil && s.current != nil && s.current.number == m.Run {
		s.current.unstored = ""
		s.current.noteWait(c.Now(), m.Cause, m.Pause)
		c.Send(h.stats, messages.StatsForget{Name: m.Name})
		h.restored(c, m.Name, s, "the one before waits to be started again: "+m.Cause)
	}
}

func (h *host) destroy(c *supervise.Context, a ask, s *slot) {
	if s == nil {
		h.answer(c, a.ticket, messages.Failure{Text: "destroy: not found"})
		return
	}
	s.phase = destroying
	s.ask = a
	s.cause = messages.CommandCause(a.command)
	c.Send(s.current.pid, messages.UnikernelStop{Cause: s.cause})
	failpoint.Here("change/end-asked")
}

// gone handles the end of a run that was started.
func (h *host) gone(c *supervise.Context, m messages.UnikernelGone) {
	h.consoles.ended(m.Name, m.End)
	s := h.slots[m.Name]
	switch {
	case s == nil:
		return
	case s.next != nil && s.next.number == m.Run: // its actor has failed at the very start
		h.failed(c, messages.UnikernelFailed{Name: m.Name, Run: m.Run, Digest: s.next.spec.Digest, Text: messages.FailedStarting})
		return
	case s.current == nil || s.current.number != m.Run:
		return
	}
	ended := s.current
	s.current = nil
	c.Stop(ended.pid)
	c.Send(h.stats, messages.StatsForget{Name: m.Name})
	failpoint.Here("change/ended")
	if m.Left != nil {
		h.useImages(m.Left.Spec)
	}
	h.dropImages(c, ended.spec)
	switch {
	case s.phase == switching && s.next != nil:
		s.former = m.Left
		h.launch(c, s)
	case s.phase == halted: // the next daemon starts it
		h.settle(c, m.Name, s)
	case m.Left != nil:
		h.startFormer(c, m.Name, s, m.Left, m.Why)
		h.stopAgain(c, s)
	default:
		h.ended(c, m.Name, s, ended)
	}
}

// ended ends a run of which nothing is left.
func (h *host) ended(c *supervise.Context, name messages.Name, s *slot, ended *run) {
	switch s.phase {
	case checking: // it has ended by itself; prepared continues
		return
	case switching:
		h.answerAsk(c, s, messages.Failure{Text: s.refusal})
	case publishing, stopping:
		h.answerAsk(c, s, messages.Failure{Text: "the unikernel has ended meanwhile"})
	case restoring:
		h.answerAsk(c, s, messages.Failure{Text: s.refusal + "; the one before is gone, too"})
	case destroying:
		text := messages.Public("destroyed unikernel")
		if ended.wait.OK {
			text = "destroyed: removed from restarting"
		}
		h.answerAsk(c, s, messages.SuccessText{Text: text})
		failpoint.Here("change/destruction-told")
	}
	h.settle(c, name, s)
}

// failed handles the end of a run that was not started.
func (h *host) failed(c *supervise.Context, m messages.UnikernelFailed) {
	s := h.slots[m.Name]
	switch {
	case s == nil:
	case s.current != nil && s.current.number == m.Run: // nothing was on record when it recovered
		h.gone(c, messages.UnikernelGone{Name: m.Name, Run: m.Run})
	case s.next != nil && s.next.number == m.Run:
		if s.phase == checking { // its image may be stored
			spec := s.next.spec
			spec.Digest = m.Digest
			h.respec(c, s.next, spec)
		}
		h.dropNext(c, m.Name, s)
		h.startFailed(c, m.Name, s, m.Text)
	}
}

// dropNext drops a run that could not be started.
func (h *host) dropNext(c *supervise.Context, name messages.Name, s *slot) {
	ended := s.next
	s.next = nil
	c.Stop(ended.pid)
	h.dropped[ended.pid.Id] = ended.spec
	h.ledger.Release(name)
	h.dropImages(c, ended.spec)
}

// childEnded removes the images of a dropped run, if nobody needs them: it may have pinned
// them until now.
func (h *host) childEnded(c *supervise.Context, m supervise.Terminated) {
	spec := h.dropped[m.ID] // zero for other children
	delete(h.dropped, m.ID)
	for digest := range digests(spec) {
		h.collect(c, digest)
	}
}

// startFailed ends a command whose unikernel could not be started, once the former is
// started again.
func (h *host) startFailed(c *supervise.Context, name messages.Name, s *slot, text messages.Public) {
	s.refusal = text
	switch {
	case s.phase == switching: // current is being stopped; gone continues
	case s.former != nil:
		former := s.former
		s.former = nil
		h.startFormer(c, name, s, former, messages.SuccessorFailed+": "+text)
	default:
		h.answerAsk(c, s, messages.Failure{Text: text})
		failpoint.Here("change/refusal-told")
		h.settle(c, name, s)
	}
}

// settle ends the command under way, removes a slot without a run, and continues with
// the longest waiting command.
func (h *host) settle(c *supervise.Context, name messages.Name, s *slot) {
	s.phase = settled
	s.ask, s.refusal = ask{}, ""
	waiting := s.waiting
	s.waiting = nil
	if s.current == nil {
		h.ledger.Release(name)
		delete(h.slots, name)
		h.consoles.unikernelGone(c, name)
	}
	if s.former != nil { // from now on, current decides alone about its former
		former := s.former
		s.former = nil
		h.dropImages(c, former.Spec)
	}
	failpoint.Here("change/settled")
	if h.halter != nil {
		s.waiting = waiting
		h.halt(c, s)
		h.reportHalted(c)
		return
	}
	for _, a := range waiting {
		h.change(c, a)
	}
}

// setCurrent makes r the current run.
func (h *host) setCurrent(s *slot, r *run) {
	s.current = r
	h.useImages(r.spec)
}

// respec notes that a run has another spec on disk.
func (h *host) respec(c *supervise.Context, r *run, spec messages.Spec) {
	former := r.spec
	r.spec = spec
	h.useImages(spec)
	h.dropImages(c, former)
}

// spawn makes a unikernel actor and its console.
func (h *host) spawn(c *supervise.Context, name messages.Name, spec messages.Spec) *run {
	h.runs++
	config := h.config
	pid := c.Child("unikernel/"+name.String(), unikernel.New(unikernel.Config{
		Name: name, Run: h.runs, Host: c.Self(), Store: h.store, Console: h.consoles.forUnikernel(c, name),
		Machine: config.Machine, Meter: config.Meter, Work: config.Work,
		Grace: config.Grace, Trial: config.Trial, Versions: config.Versions,
	}))
	return &run{number: h.runs, pid: pid, spec: spec}
}

// restarted answers a unikernel actor that has failed how to continue.
func (h *host) restarted(c *supervise.Context, m messages.UnikernelRestarted) {
	h.collectAll(c) // an unknown image of its may be in the store
	s := h.slots[m.Name]
	switch {
	case s == nil:
	case s.phase == renaming: // what it would read is about to change
	case s.current != nil && s.current.number == m.Run:
		c.Send(s.current.pid, messages.UnikernelRecover{})
		if s.phase == publishing {
			h.endPublishing(c, s, "internal error: the daemon failed while it changed published ports; its log tells more")
			h.settle(c, m.Name, s)
			return
		}
		h.stopAgain(c, s)
	case s.next == nil || s.next.number != m.Run:
	case s.phase == launching:
		c.Send(s.next.pid, messages.UnikernelRecover{Abandon: true, Former: s.replaced()})
	default:
		h.dropNext(c, m.Name, s)
		h.startFailed(c, m.Name, s, messages.FailedStarting)
	}
}

package unikernel

import (
	"context"
	"errors"
	"slices"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

func (u *unikernel) prepareAsked(c *supervise.Context, m messages.UnikernelPrepare) {
	u.spec, u.cause = m.Spec, m.Cause
	u.prepare(c, m)
}

func (u *unikernel) prepare(c *supervise.Context, m messages.UnikernelPrepare) {
	u.to(c, preparing)
	u.revertRefusal, u.unfit = "", ""
	machine, turns, name := u.Machine, u.Work, u.Name
	c.Go(func(ctx context.Context) any {
		p := prepared{digest: m.Spec.Digest}
		err := turns.Do(ctx, name.Path.Tenant(), func() { p = prepare(ctx, machine, name, m) })
		p.err = errors.Join(p.err, err)
		return p
	})
}

func prepare(ctx context.Context, machine Machine, name messages.Name, m messages.UnikernelPrepare) (p prepared) {
	p.digest, p.plan, p.err = machine.Prepare(ctx, name, m)
	if p.err == nil {
		p.pin = &pin{machine: machine, digest: p.digest}
	}
	return p
}

func (u *unikernel) prepared(c *supervise.Context, m prepared) {
	failpoint.Here("unikernel/prepared")
	u.pin.release() // of the former run
	u.pin = m.pin
	u.spec.Digest = m.digest
	u.plan = m.plan
	switch {
	case m.err != nil && u.eager:
		u.fail(c, m.err)
	case m.err != nil: // nothing was made yet
		u.giveUp(c, m.err)
	case u.eager:
		u.start(c)
	default:
		u.to(c, ready)
		c.Send(u.Host, messages.UnikernelPrepared{Name: u.Name, Run: u.Run, Spec: u.spec})
	}
}

func (u *unikernel) startAsked(c *supervise.Context, m messages.UnikernelStart) {
	switch u.state {
	case ready:
		u.creates, u.spec.Former = m.Creates, m.Former
		if m.Former != nil {
			u.spec = u.spec.Succeeding(m.Former.Spec, c.Now(), u.cause, m.Exit, u.Versions)
		}
		u.start(c)
	case waiting:
		u.held = false
		u.restartDue(c)
	default: // it has been stopped, or the incarnation has failed that was to be started
	}
}

// start makes the FIFO.
func (u *unikernel) start(c *supervise.Context) {
	if u.stop.OK {
		u.close(c)
		return
	}
	u.to(c, starting)
	machine, name := u.Machine, u.Name
	c.Go(func(context.Context) any { return fifoMade{machine.MakeConsole(name)} })
}

func (u *unikernel) fifoMade(c *supervise.Context, m fifoMade) {
	if m.err != nil {
		u.fail(c, m.err)
		return
	}
	failpoint.Here("unikernel/fifo-made")
	u.openConsole(c)
}

// openConsole makes the console read the output of the tender, present or future.
func (u *unikernel) openConsole(c *supervise.Context) {
	u.request = c.NewID()
	m := messages.ConsoleOpen{ID: u.request}
	if u.tender != nil {
		m.Tender = messages.Some(u.runtime.Process)
	}
	c.Request(u.Console, m)
}

func (u *unikernel) consoleOpened(c *supervise.Context, m messages.ConsoleOpened) {
	switch u.state {
	case starting:
		if m.ID != u.request {
			return
		}
		u.request = 0
		if m.Err != "" {
			u.fail(c, errors.New(string(m.Err)))
			return
		}
		failpoint.Here("unikernel/console-opened")
		u.equip(c)
	case running, stopping:
		if m.Err != "" {
			c.Log().Error("Cannot reattach console", "error", m.Err)
		}
	default: // of a start that was given up
	}
}

// consoleRestarted makes a restarted console read again.
func (u *unikernel) consoleRestarted(c *supervise.Context) {
	switch u.state {
	case running, stopping:
		u.openConsole(c)
	default: // it is opened, or opened once more, when there is something to read
	}
}

// equip makes what the tender is connected to, besides its console.
func (u *unikernel) equip(c *supervise.Context) {
	machine, name, plan := u.Machine, u.Name, u.plan
	c.Go(func(context.Context) any {
		equipment, err := machine.Equip(name, plan)
		return equipped{equipment, err}
	})
}

func (u *unikernel) equipped(c *supervise.Context, m equipped) {
	u.equipment = m.equipment
	if m.err != nil {
		u.fail(c, m.err)
		return
	}
	failpoint.Here("unikernel/equipped")
	u.launch(c)
}

// launch makes the process that becomes the tender once it is on record.
func (u *unikernel) launch(c *supervise.Context) {
	equipment := u.equipment
	c.Go(func(ctx context.Context) any {
		gated, err := equipment.Launch(ctx)
		return launched{gated, err}
	})
}

// launched records the process and the specification: from then on the unikernel is
// started again whatever happens.
func (u *unikernel) launched(c *supervise.Context, m launched) {
	if m.err != nil {
		u.fail(c, m.err)
		return
	}
	failpoint.Here("unikernel/launched")
	u.gated = m.gated
	u.runtime = messages.Runtime{
		Process:       m.gated.Process(),
		StartedMillis: c.Now().UnixMilli(),
		Taps:          u.equipment.Links(),
		Restarts:      u.runtime.Restarts,
	}
	changes := []messages.Change{
		messages.PutSpec{Name: u.Name, Spec: u.spec},
		messages.PutRuntime{Name: u.Name, Runtime: u.runtime},
	}
	if u.creates {
		changes = append(changes, u.startEvent(messages.EventCreated, u.cause))
	}
	u.stored = true
	u.record(c, changes...)
}

func (u *unikernel) record(c *supervise.Context, changes ...messages.Change) {
	u.writing = u.write(c, changes)
}

// write returns the ID of the request.
func (u *unikernel) write(c *supervise.Context, changes []messages.Change) uint64 {
	id := c.NewID()
	c.Request(u.Store, messages.StoreWrite{ID: id, Changes: changes})
	return id
}

func (u *unikernel) written(c *supervise.Context, m messages.StoreWritten) {
	if m.ID == 0 {
		return
	}
	switch m.ID {
	case u.marking:
		u.marked(c, m.Err)
		return
	case u.ports.writing:
		u.portsWritten(c, m.Err)
		return
	case u.writing:
		u.writing = 0
	default: // answered before, or of a former incarnation
		return
	}
	switch u.state {
	case starting:
		u.recorded(c, m.Err)
	case running:
		u.proven(c, m.Err)
	case stopping:
		u.intentRecorded(c, m.Err)
	case closing: // it has ended before the change was stored
	case forgetting:
		u.forgotten(c, m.Err)
	default:
		c.Log().Error("Internal error: nothing was to be stored", "state", u.state)
	}
}

// recorded lets the process become the tender. What was made for it is on record, and
// stays.
func (u *unikernel) recorded(c *supervise.Context, failure messages.Public) {
	if failure != "" {
		u.fail(c, errors.New(string(failure)))
		return
	}
	failpoint.Here("unikernel/recorded")
	u.creates = false
	gated := u.gated
	u.equipment = nil
	c.Go(func(ctx context.Context) any {
		tender, err := gated.Release(ctx)
		return released{tender, err}
	})
}

func (u *unikernel) released(c *supervise.Context, m released) {
	u.gated = nil
	if m.err != nil { // it was aborted
		u.fail(c, m.err)
		return
	}
	failpoint.Here("unikernel/released")
	u.tender = m.tender
	u.markReleased(c, u.startEvent(messages.EventStarted, u.cause))
	u.begin(c, c.Now())
	u.openConsole(c) // it may have failed since it was opened
}

// markReleased stores that the tender runs, with the events about it. Nothing waits for
// that: until it is stored, the next daemon takes a tender that is gone for one that has
// never run, and starts it again.
func (u *unikernel) markReleased(c *supervise.Context, events ...messages.Change) {
	u.runtime.Released = true
	u.runtime.StartTold = true
	u.unmarked = nil
	u.marks = events
	u.marking = u.write(c, append(slices.Clone(events), messages.PutRuntime{Name: u.Name, Runtime: u.runtime}))
}

// marked retries a failed write while the tender runs. Its end stores the events at the
// latest.
func (u *unikernel) marked(c *supervise.Context, failure messages.Public) {
	if failure == "" {
		return
	}
	u.unmarked = u.marks
	c.After(supervise.RetryAfter, retryMark{u.marking})
}

func (u *unikernel) retryMark(c *supervise.Context, m retryMark) {
	switch u.state {
	case running:
		if m.marking == u.marking {
			u.markReleased(c, u.unmarked...)
		}
	default: // it is being stopped, or has ended
	}
}

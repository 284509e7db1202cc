package host

import (
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A stopped unikernel stays on record, and all that was promised to it stays in the ledger, so that
// a start of it is never refused for want of room. Its actor has nothing on the machine. A start is
// a replacement of the stopped one by the same, to run: one that fails leaves it stopped.

// stop stops a unikernel, or ends its waiting to be started again.
func (h *host) stop(c *supervise.Context, a ask, s *slot) {
	switch {
	case s == nil:
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot stop %s: there is no such unikernel", a.name)})
		return
	case s.current.spec.IsStopped():
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot stop %s: it is stopped already", a.name)})
		return
	}
	s.phase = stopping
	s.ask = a
	s.cause = messages.CommandCause(a.command)
	h.stopAgain(c, s)
	failpoint.Here("change/stop-asked")
}

// stopAgain asks the current run to end, if the command under way, or the halter, wants that: its
// actor may have failed, or be a new one.
func (h *host) stopAgain(c *supervise.Context, s *slot) {
	switch s.phase {
	case stopping:
		c.Send(s.current.pid, messages.UnikernelStop{Stay: true, Cause: s.cause})
	case destroying:
		c.Send(s.current.pid, messages.UnikernelStop{Cause: s.cause})
	case switching, halted:
		c.Send(s.current.pid, messages.UnikernelStop{KeepSpec: true, Firm: s.phase == halted, Cause: s.cause})
	}
}

// stopped handles that a run is on record as stopped.
func (h *host) stopped(c *supervise.Context, m messages.UnikernelStopped) {
	h.consoles.ended(m.Name, m.End)
	s := h.slots[m.Name]
	if s == nil || s.current == nil || s.current.number != m.Run {
		return
	}
	h.respec(c, s.current, m.Spec)
	s.current.started, s.current.restarts = time.Time{}, 0
	s.current.wait, s.current.unstored = messages.Option[messages.Wait]{}, ""
	c.Send(h.stats, messages.StatsForget{Name: m.Name})
	switch s.phase {
	case stopping:
		h.answerAsk(c, s, messages.SuccessText{Text: "stopped unikernel"})
		failpoint.Here("change/stop-told")
		h.settle(c, m.Name, s)
	case restoring:
		h.restored(c, m.Name, s, "it stays stopped")
	}
}

// start starts a stopped unikernel.
func (h *host) start(c *supervise.Context, a ask, s *slot) {
	var refusal messages.Public
	switch {
	case s == nil:
		refusal = messages.Publicf("cannot start %s: there is no such unikernel", a.name)
	case s.current.spec.IsStopped():
		h.runAgain(c, a, s, s.current.spec.ToRun())
		return
	case s.current.wait.OK:
		refusal = messages.Publicf("cannot start %s: it is not stopped, but waits to be started again: restart starts it at once", a.name)
	default:
		refusal = messages.Publicf("cannot start %s: it is already running", a.name)
	}
	h.answer(c, a.ticket, messages.Failure{Text: refusal})
}

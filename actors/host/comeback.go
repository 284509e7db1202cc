package host

import (
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A former is started again if its successor cannot be started, which the answer reports,
// or if its trial fails, which an event reports.

// replaced returns the former of the next run.
func (t *tenant) replaced() *messages.Former {
	if t.former == nil {
		return nil
	}
	return &messages.Former{Spec: t.former.Spec.Proven(), Restarts: t.former.Restarts}
}

// revert decides whether the former of a unikernel on trial may be started again.
func (h *host) revert(c *supervise.Context, m messages.UnikernelRevert) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
	case t.next != nil && t.next.number == m.Run: // its needs are still reserved
		c.Send(t.next.pid, messages.UnikernelReverted{})
	case t.current == nil || t.current.number != m.Run:
	case t.phase == settled, t.phase == checking, t.phase == restoring:
		err := h.ledger.Revert(m.Name, m.Former.Spec.Arguments)
		c.Send(t.current.pid, messages.UnikernelReverted{Err: c.Public(err)})
	default: // it is being stopped
	}
	failpoint.Here("change/revert-decided")
}

// proven ends a trial.
func (h *host) proven(c *supervise.Context, m messages.UnikernelProven) {
	if t := h.tenants[m.Name]; t != nil && t.current != nil && t.current.number == m.Run {
		h.respec(c, t.current, t.current.spec.Proven())
	}
}

// comeBack starts what is on disk under a name. Its images are counted as needed already.
func (h *host) comeBack(c *supervise.Context, name messages.Name, t *tenant, left *messages.Former, why messages.Public) {
	switch t.phase {
	case launching, switching:
		t.phase = restoring
	default: // no command waits for it
	}
	t.current = h.spawn(c, name, left.Spec)
	c.Send(t.current.pid, messages.UnikernelResume{
		Record: messages.Record{Name: name, Spec: left.Spec}, Restarts: left.Restarts, Cause: why,
	})
	failpoint.Here("change/coming-back")
}

// restored answers a command whose unikernel could not be started, after its former was
// started again, or a start was tried.
func (h *host) restored(c *supervise.Context, name messages.Name, t *tenant, outcome messages.Public) {
	if t.phase != restoring {
		return
	}
	h.answerAsk(c, t, messages.Failure{Text: t.refusal + "; " + outcome})
	failpoint.Here("change/comeback-told")
	h.settle(c, name, t)
}

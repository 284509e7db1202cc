package host

import (
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A former is started again if its successor cannot be started, which the answer reports,
// or if its trial fails, which an event reports.

// replaced returns the former of the next run.
func (s *slot) replaced() *messages.Former {
	if s.former == nil {
		return nil
	}
	return &messages.Former{Spec: s.former.Spec.Proven(), Restarts: s.former.Restarts}
}

// revert decides whether the former of a unikernel on trial may be started again.
func (h *host) revert(c *supervise.Context, m messages.UnikernelRevert) {
	s := h.slots[m.Name]
	switch {
	case s == nil:
	case s.next != nil && s.next.number == m.Run: // its needs are still reserved
		c.Send(s.next.pid, messages.UnikernelReverted{})
	case s.current == nil || s.current.number != m.Run:
	case s.phase == settled, s.phase == checking, s.phase == restoring:
		err := h.ledger.Revert(m.Name, m.Former.Spec.Arguments)
		c.Send(s.current.pid, messages.UnikernelReverted{Err: c.Public(err)})
	default: // it is being stopped
	}
	failpoint.Here("change/revert-decided")
}

// healthNoted notes the health of what runs.
func (h *host) healthNoted(m messages.UnikernelHealth) {
	if s := h.slots[m.Name]; s != nil && s.current != nil && s.current.number == m.Run {
		s.current.health = m.Health
	}
}

// proven ends a trial.
func (h *host) proven(c *supervise.Context, m messages.UnikernelProven) {
	if s := h.slots[m.Name]; s != nil && s.current != nil && s.current.number == m.Run {
		h.respec(c, s.current, s.current.spec.Proven())
	}
}

// startFormer starts what is on disk under a name. Its images are counted as needed already.
func (h *host) startFormer(c *supervise.Context, name messages.Name, s *slot, left *messages.Former, why messages.Public) {
	switch s.phase {
	case launching, switching:
		s.phase = restoring
	default: // no command waits for it
	}
	s.current = h.spawn(c, name, left.Spec)
	c.Send(s.current.pid, messages.UnikernelResume{
		Record: messages.Record{Name: name, Spec: left.Spec}, Restarts: left.Restarts, Cause: why,
	})
	failpoint.Here("change/coming-back")
}

// restored answers a command whose unikernel could not be started, after its former was
// started again, or a start was tried.
func (h *host) restored(c *supervise.Context, name messages.Name, s *slot, outcome messages.Public) {
	if s.phase != restoring {
		return
	}
	h.answerAsk(c, s, messages.Failure{Text: s.refusal + "; " + outcome})
	failpoint.Here("change/comeback-told")
	h.settle(c, name, s)
}

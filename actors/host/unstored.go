package host

import (
	"cmp"

	"albatross/actors/supervise"
	"albatross/messages"
)

// A unikernel that has ended stays until that is on disk. If it cannot be stored, clients
// do not wait, but get a failure.

// unstored answers those who wait for a change that cannot be stored.
func (h *host) unstored(c *supervise.Context, m messages.UnikernelUnstored) {
	s := h.slots[m.Name]
	switch {
	case s == nil:
		return
	case s.current != nil && s.current.number == m.Run:
		s.current.noteWait(c.Now(), m.Text, 0)
		s.current.unstored = m.Text
		c.Send(h.stats, messages.StatsForget{Name: m.Name})
	case s.next != nil && s.next.number == m.Run:
		s.next.unstored = m.Text
	default:
		return
	}
	if s.phase == switching && s.next != nil { // gone starts current again
		h.dropNext(c, m.Name, s)
	}
	if s.phase != checking { // prepared continues
		h.answerAsk(c, s, messages.Failure{Text: m.Text})
	}
	waiting := s.waiting
	s.waiting = nil
	for _, a := range waiting {
		h.change(c, a)
	}
}

// goesOn answers a command whose unikernel is not ended.
func (h *host) goesOn(c *supervise.Context, m messages.UnikernelGoesOn) {
	s := h.slots[m.Name]
	if s == nil || s.phase != switching && s.phase != stopping || s.current.number != m.Run {
		return
	}
	if s.next != nil {
		h.dropNext(c, m.Name, s)
	}
	h.answerAsk(c, s, messages.Failure{Text: cmp.Or(s.refusal, m.Text)})
	h.settle(c, m.Name, s)
}

// changeUnstored refuses a command. A destroy is carried out when it can be stored.
func (h *host) changeUnstored(c *supervise.Context, a ask, s *slot) {
	if _, ok := a.command.(messages.UnikernelDestroy); ok && s.phase == settled {
		s.phase = destroying
		s.cause = messages.CommandCause(a.command)
		c.Send(s.current.pid, messages.UnikernelStop{Cause: s.cause})
	}
	h.answer(c, a.ticket, messages.Failure{Text: s.unstored()})
}

// answerAsk answers the command under way, unless it was answered.
func (h *host) answerAsk(c *supervise.Context, s *slot, payload messages.Payload) {
	if s.ask.ticket == 0 {
		return
	}
	h.answer(c, s.ask.ticket, payload)
	s.ask.ticket = 0
}

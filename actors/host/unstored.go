package host

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// A unikernel that has ended stays until that is on disk. If it cannot be stored, clients
// do not wait, but get a failure.

// unstored answers those who wait for a change that cannot be stored.
func (h *host) unstored(c *supervise.Context, m messages.UnikernelUnstored) {
	t := h.tenants[m.Name]
	switch {
	case t == nil:
		return
	case t.current != nil && t.current.number == m.Run:
		t.current.rest(c.Now(), m.Text)
		t.current.unstored = m.Text
		c.Send(h.stats, messages.StatsForget{Name: m.Name})
	case t.next != nil && t.next.number == m.Run:
		t.next.unstored = m.Text
	default:
		return
	}
	if t.phase == switching && t.next != nil { // gone starts current again
		h.dropNext(c, m.Name, t)
	}
	if t.phase != checking { // prepared continues
		h.answerAsk(c, t, messages.Failure{Text: m.Text})
	}
	waiting := t.waiting
	t.waiting = nil
	for _, a := range waiting {
		h.change(c, a)
	}
}

// changeUnstored refuses a command. A destroy is carried out when it can be stored.
func (h *host) changeUnstored(c *supervise.Context, a ask, t *tenant) {
	if _, ok := a.command.(messages.UnikernelDestroy); ok && t.phase == settled {
		t.phase = destroying
		t.cause = messages.CommandCause(a.command)
		c.Send(t.current.pid, messages.UnikernelStop{Cause: t.cause})
	}
	h.answer(c, a.ticket, messages.Failure{Text: t.unstored()})
}

// answerAsk answers the command under way, unless it was answered.
func (h *host) answerAsk(c *supervise.Context, t *tenant, payload messages.Payload) {
	if t.ask.ticket == 0 {
		return
	}
	h.answer(c, t.ask.ticket, payload)
	t.ask.ticket = 0
}

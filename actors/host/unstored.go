package host

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// A unikernel that does not run any more is there until that is on disk. Where it
// cannot be, nobody waits for it: who asks is told what is so.

// unstored answers those who wait for what cannot be stored.
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
	if t.phase == switching && t.next != nil { // gone starts the old one again
		h.dropNext(c, m.Name, t)
	}
	if t.phase != checking { // prepared goes on
		h.answerAsk(c, t, messages.Failure{Text: m.Text})
	}
	waiting := t.waiting
	t.waiting = nil
	for _, a := range waiting {
		h.change(c, a)
	}
}

// changeUnstored refuses a command. One to destroy is carried out when that can be
// stored.
func (h *host) changeUnstored(c *supervise.Context, a ask, t *tenant) {
	if _, ok := a.command.(messages.UnikernelDestroy); ok && t.phase == settled {
		t.phase = destroying
		t.cause = messages.CommandCause(a.command)
		c.Send(t.current.pid, messages.UnikernelStop{Cause: t.cause})
	}
	h.answer(c, a.ticket, messages.Failure{Text: t.unstored()})
}

// answerAsk answers the command under way, unless that has been done.
func (h *host) answerAsk(c *supervise.Context, t *tenant, payload messages.Payload) {
	if t.ask.ticket == 0 {
		return
	}
	h.answer(c, t.ask.ticket, payload)
	t.ask.ticket = 0
}

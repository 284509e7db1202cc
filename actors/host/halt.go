package host

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// haltAsked stops all unikernels, which stay on record: the next daemon starts them. The
// host does nothing else from then on.
func (h *host) haltAsked(c *supervise.Context) {
	h.halter = c.Sender()
	if !h.booted { // ready continues
		return
	}
	h.haltAll(c)
}

func (h *host) haltAll(c *supervise.Context) {
	for _, s := range h.slots {
		if s.phase == settled { // settle halts the others
			h.halt(c, s)
		}
	}
	h.reportHalted(c)
}

// halt stops one unikernel, and refuses its waiting commands.
func (h *host) halt(c *supervise.Context, s *slot) {
	for _, a := range s.waiting {
		h.answer(c, a.ticket, messages.Failure{Text: halting})
	}
	s.waiting = nil
	if s.current == nil {
		return
	}
	s.phase = halted
	s.cause = "the daemon stops with its unikernels"
	c.Send(s.current.pid, messages.UnikernelStop{KeepSpec: true, Firm: true, Cause: s.cause})
}

const halting = "the daemon is stopping all unikernels: try again when it runs again"

// reportHalted reports to the halter when nothing is left.
func (h *host) reportHalted(c *supervise.Context) {
	if h.halter != nil && len(h.slots) == 0 {
		c.Send(h.halter, messages.AllHalted{})
	}
}

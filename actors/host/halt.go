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
	for _, t := range h.tenants {
		if t.phase == settled { // settle halts the others
			h.halt(c, t)
		}
	}
	h.tellHalted(c)
}

// halt stops one unikernel, and refuses its waiting commands.
func (h *host) halt(c *supervise.Context, t *tenant) {
	for _, a := range t.waiting {
		h.answer(c, a.ticket, messages.Failure{Text: halting})
	}
	t.waiting = nil
	if t.current == nil {
		return
	}
	t.phase = halted
	t.cause = "the daemon stops with its unikernels"
	c.Send(t.current.pid, messages.UnikernelStop{KeepSpec: true, Cause: t.cause})
}

const halting = "the daemon is stopping all unikernels: try again when it runs again"

// tellHalted tells the halter when nothing is left.
func (h *host) tellHalted(c *supervise.Context) {
	if h.halter != nil && len(h.tenants) == 0 {
		c.Send(h.halter, messages.AllHalted{})
	}
}

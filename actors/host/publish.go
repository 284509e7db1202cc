package host

import (
	"slices"

	"albatross/actors/supervise"
	"albatross/messages"
)

// publish changes which ports of the host lead to a unikernel.
func (h *host) publish(c *supervise.Context, a ask, s *slot) {
	if s == nil {
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot publish a port of %s: there is no such unikernel", a.name)})
		return
	}
	args := s.current.spec.Arguments
	list, refusal := changedPorts(args.Publish, a.command)
	if refusal != "" {
		h.answer(c, a.ticket, messages.Failure{Text: refusal})
		return
	}
	args.Publish = list
	if err := h.ledger.Republish(a.name, args); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	h.askPublish(c, a, s, list, s.current.spec.Owner)
}

// askPublish asks a unikernel to change its published ports, or its owner.
func (h *host) askPublish(c *supervise.Context, a ask, s *slot, list []messages.Publication, owner messages.Owner) {
	s.phase, s.ask = publishing, ask{ticket: a.ticket, name: a.name, command: a.command}
	s.publishing = c.NewID()
	c.Send(s.current.pid, messages.UnikernelPublish{ID: s.publishing, List: list, Owner: owner})
}

// changedPorts returns the ports after a command.
func changedPorts(list []messages.Publication, command messages.Command) (_ []messages.Publication, refusal messages.Public) {
	switch m := command.(type) {
	case messages.PublishAdd:
		if slices.Contains(list, m.Publication) {
			return nil, messages.Publicf("cannot publish %s: it is published already", m.Publication)
		}
		return append(slices.Clone(list), m.Publication), ""
	case messages.PublishRemove:
		if !slices.Contains(list, m.Publication) {
			return nil, messages.Publicf("cannot end %s: it is not published", m.Publication)
		}
		return slices.DeleteFunc(slices.Clone(list), func(p messages.Publication) bool { return p == m.Publication }), ""
	}
	return nil, "unknown command"
}

// published ends a change of published ports.
func (h *host) published(c *supervise.Context, m messages.UnikernelPublished) {
	s := h.slots[m.Name]
	if s == nil || s.phase != publishing || s.publishing != m.ID || s.current == nil || s.current.number != m.Run {
		return
	}
	h.respec(c, s.current, m.Spec)
	if m.Err == "" {
		h.answerAsk(c, s, messages.SuccessText{Text: "published ports changed"})
	} else {
		h.endPublishing(c, s, m.Err)
	}
	h.settle(c, m.Name, s)
}

// endPublishing refuses a change that has failed.
func (h *host) endPublishing(c *supervise.Context, s *slot, text messages.Public) {
	if err := h.ledger.Republish(s.ask.name, s.current.spec.Arguments); err != nil {
		c.Log().Error("Internal error: ports cannot be what they were", "name", s.ask.name, "error", err)
	}
	h.answerAsk(c, s, messages.Failure{Text: text})
}

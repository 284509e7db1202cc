package host

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// history returns the former versions of the unikernel of a name, the last one first.
func (h *host) history(name messages.Name) messages.Payload {
	s := h.slots[name]
	if s == nil || s.current == nil {
		return messages.Failure{Text: messages.Publicf("cannot show the history of %s: there is no such unikernel", name)}
	}
	var list []messages.FormerVersion
	for _, p := range s.current.spec.Past {
		list = append(list, p.Version())
	}
	return messages.SuccessHistory{Now: messages.Some(s.current.spec.Version()), List: list}
}

// rollback replaces a unikernel by a former version.
func (h *host) rollback(c *supervise.Context, a ask, s *slot, number int) {
	if s == nil {
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot roll back %s: there is no such unikernel", a.name)})
		return
	}
	past := s.current.spec.Past
	if number < 1 || number > len(past) {
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot roll back %s to version %d: it has %d former versions, which history lists", a.name, number, len(past))})
		return
	}
	spec := past[number-1].Spec
	spec.By = messages.Some(a.by)
	h.runAgain(c, a, s, spec)
}

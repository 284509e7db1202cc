package host

import (
	"fmt"
	"slices"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A rename gives a stopped unikernel another name, in one change of what is on record. Its console,
// and how it has ended, stay under the former name. Meanwhile both names have a slot in the phase
// renaming. One that could not be stored may be on disk all the same, so it is tried again until it is.
type rename struct {
	from, to messages.Name
	spec     messages.Spec // under the new name
	cause    messages.Public
	tries    int // that have failed
}

// retryRename is a message of the host's timer.
type retryRename struct{ rename rename }

func (h *host) rename(c *supervise.Context, a ask, s *slot, to messages.Name) {
	r := rename{from: a.name, to: to, cause: messages.CommandCause(a.command)}
	err := h.renameable(r, s)
	if err == nil {
		r.spec = withAddressesOf(a.name, s.current.spec)
		err = h.ledger.Rename(a.name, to, r.spec.Arguments)
	}
	if err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	s.phase, s.ask = renaming, a
	h.slots[to] = &slot{phase: renaming}
	h.recordRename(c, r)
	failpoint.Here("rename/write-asked")
}

// renameable returns why a unikernel cannot have another name.
func (h *host) renameable(r rename, s *slot) error {
	switch {
	case s == nil:
		return fmt.Errorf("cannot rename %s: there is no such unikernel", r.from)
	case !s.current.spec.IsStopped():
		return fmt.Errorf("cannot rename %s: it is not stopped: stop it first", r.from)
	case r.to.IsPath():
		return fmt.Errorf("cannot rename %s to the path %s: give it a name", r.from, r.to)
	case len(r.to.String()) > messages.MaxFileName:
		return fmt.Errorf("cannot rename %s: the new name has %d bytes, and at most %d are possible", r.from, len(r.to.String()), messages.MaxFileName)
	case h.slots[r.to] != nil:
		return fmt.Errorf("cannot rename %s: there is a unikernel %s", r.from, r.to)
	case r.from.Path != r.to.Path && len(s.current.spec.Arguments.Blocks) > 0:
		return fmt.Errorf("cannot rename %s to %s: its block devices are at its path, and would not be found from there", r.from, r.to)
	}
	return nil
}

// withAddressesOf returns a specification for another name, with the MAC addresses that follow from the
// present one: so its addresses on named networks stay the same, too.
func withAddressesOf(name messages.Name, spec messages.Spec) messages.Spec {
	spec.Arguments.Networks = slices.Clone(spec.Arguments.Networks)
	for i := range spec.Arguments.Networks {
		n := &spec.Arguments.Networks[i]
		n.MAC = messages.Some(n.Address(name))
	}
	return spec
}

func (h *host) recordRename(c *supervise.Context, r rename) {
	id := c.NewID()
	h.renames[id] = r
	c.Request(h.store, messages.StoreWrite{ID: id, Changes: []messages.Change{
		messages.DeleteUnikernel{Name: r.from},
		messages.PutSpec{Name: r.to, Spec: r.spec},
		messages.Happened(c.Now(), messages.EventDestroyed, r.from, messages.Publicf("%s: it is %s now", r.cause, r.to)),
		messages.Happened(c.Now(), messages.EventCreated, r.to, messages.Publicf("%s: it was %s", r.cause, r.from)),
	}})
}

// renameWritten ends a rename, or tries again.
func (h *host) renameWritten(c *supervise.Context, m messages.StoreWritten) {
	r, asked := h.renames[m.ID]
	delete(h.renames, m.ID)
	switch {
	case !asked: // answered before, or something else
	case m.Err == "":
		h.renamed(c, r)
	case m.Refused && r.tries == 0: // nothing of it is on disk
		h.notRenamed(c, r, m.Err)
	default:
		h.renameStuck(c, r, m.Err)
	}
}

func (h *host) renamed(c *supervise.Context, r rename) {
	failpoint.Here("rename/written")
	old, s := h.slots[r.from], h.slots[r.to]
	former := old.current
	old.current, old.stuck, s.stuck = nil, "", ""
	c.Stop(former.pid)
	h.setCurrent(s, h.spawn(c, r.to, r.spec))
	h.consoles.begin(c, r.to, h.ledger)
	c.Send(s.current.pid, messages.UnikernelResume{Record: messages.Record{Name: r.to, Spec: r.spec}, Cause: r.cause})
	h.dropImages(c, former.spec)
	h.answerAsk(c, old, messages.SuccessText{Text: "renamed unikernel"})
	failpoint.Here("rename/told")
	h.settle(c, r.from, old)
	h.settle(c, r.to, s)
}

// notRenamed refuses a rename.
func (h *host) notRenamed(c *supervise.Context, r rename, why messages.Public) {
	old := h.slots[r.from]
	h.ledger.Release(r.to)
	h.ledger.Hold(r.from, old.current.spec.Arguments)
	c.Send(old.current.pid, messages.UnikernelRecover{}) // if it has failed meanwhile
	h.answerAsk(c, old, messages.Failure{Text: why})
	h.settle(c, r.to, h.slots[r.to])
	h.settle(c, r.from, old)
}

// renameStuck refuses all commands for both names until the rename can be stored.
func (h *host) renameStuck(c *supervise.Context, r rename, why messages.Public) {
	text := messages.Publicf("%s is being renamed to %s, but that cannot be stored: %s; this is tried again until it can", r.from, r.to, why)
	for _, name := range []messages.Name{r.from, r.to} {
		s := h.slots[name]
		s.stuck = text
		h.answerAsk(c, s, messages.Failure{Text: text})
		waiting := s.waiting
		s.waiting = nil
		for _, a := range waiting {
			h.change(c, a)
		}
	}
	r.tries++
	c.After(supervise.RetryAfter, retryRename{r})
}

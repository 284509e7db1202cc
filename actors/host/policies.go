package host

import (
	"errors"
	"strings"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// policyChanges are carried out one at a time: each is checked against the result of the
// one before.
type policyChanges struct {
	now     messages.Option[ask] // being written to disk
	waiting []ask
	request uint64            // ID of the pending request to the store; 0: none
	undo    []messages.Change // restores the valid policies on disk; nil: they are
	undoing supervise.Trouble
}

// undoing is the cause of the event of a change that is undone.
const undoing = "a change that failed is undone"

// retryUndo is a message of the host's timer.
type retryUndo struct{}

// changePolicy begins a change, or queues it behind the one under way.
func (h *host) changePolicy(c *supervise.Context, a ask) {
	if h.policies.now.OK {
		h.policies.waiting = append(h.policies.waiting, a)
		return
	}
	if h.policies.undo != nil {
		h.answer(c, a.ticket, messages.Failure{Text: "cannot change policies before the last change, which failed, is undone on disk: try again"})
		return
	}
	path := a.name.Path // the label does not matter
	has, exists := h.ledger.Policy(path)
	switch command := a.command.(type) {
	case messages.PolicyAdd:
		command.Policy.Owner = has.Owner
		a.command = command
		h.addPolicy(c, a, path, command.Policy)
	case messages.PolicyDeploy:
		h.ownPolicy(c, a, path, has, command.Policy)
	case messages.OwnRequest:
		if !exists || path == messages.Root {
			h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot give the policy of %s an owner: it has none of its own", path)})
			return
		}
		p := has
		p.Owner = a.owner
		h.ownPolicy(c, a, path, has, p)
	case messages.PolicyRemove:
		h.removePolicy(c, a, path)
	}
}

// ownPolicy adds the policy of an owner in place of the one that there is.
func (h *host) ownPolicy(c *supervise.Context, a ask, path messages.Path, has, p messages.Policy) {
	if err := mayOwn(messages.KindPolicy, messages.Name{Path: path}, has.Owner, p.Owner); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	p.Owner = p.Owner.Or(has.Owner)
	a.command = messages.PolicyAdd{Policy: p}
	h.addPolicy(c, a, path, p)
}

func (h *host) addPolicy(c *supervise.Context, a ask, path messages.Path, p messages.Policy) {
	if len(path) > messages.MaxFileName { // no name could be below it
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("cannot put a policy on a path of %d bytes: at most %d are possible", len(path), messages.MaxFileName)})
		return
	}
	changes, err := h.ledger.ProposePolicy(path, p)
	switch {
	case err != nil:
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
	case !changes:
		h.answer(c, a.ticket, messages.SuccessText{Text: messages.PolicyUnchanged})
	default:
		kind := messages.EventPolicyAdded
		if _, ok := h.ledger.Policy(path); ok {
			kind = messages.EventPolicyChanged
		}
		h.writePolicy(c, a, messages.PutPolicy{Path: path, Policy: p}, kind)
	}
}

func (h *host) removePolicy(c *supervise.Context, a ask, path messages.Path) {
	if _, ok := h.ledger.Policy(path); !ok {
		h.answer(c, a.ticket, messages.Failure{Text: "unknown policy"})
		return
	}
	if path == messages.Root && h.ledger.RootIsMachine() {
		h.answer(c, a.ticket, messages.Failure{Text: "cannot remove the policy of the root: it is what this machine has"})
		return
	}
	h.writePolicy(c, a, messages.DeletePolicy{Path: path}, messages.EventPolicyRemoved)
}

func (h *host) writePolicy(c *supervise.Context, a ask, change messages.Change, kind messages.EventKind) {
	h.policies.now = messages.Some(a)
	event := messages.Happened(c.Now(), kind, messages.Name{Path: a.name.Path}, messages.CommandCause(a.command))
	h.requestPolicy(c, []messages.Change{change, event})
	failpoint.Here("policy/write-asked")
}

func (h *host) requestPolicy(c *supervise.Context, changes []messages.Change) {
	h.policies.request = c.NewID()
	c.Request(h.store, messages.StoreWrite{ID: h.policies.request, Changes: changes})
}

// policyWritten ends a change, and begins the next.
func (h *host) policyWritten(c *supervise.Context, m messages.StoreWritten) {
	if m.ID == 0 || m.ID != h.policies.request { // answered before, or of a former incarnation
		return
	}
	h.policies.request = 0
	if h.policies.undo != nil {
		h.undone(c, m.Err)
		return
	}
	failpoint.Here("policy/written")
	a := h.policies.now.Value
	h.policies.now = messages.Option[ask]{}
	addition, added := a.command.(messages.PolicyAdd)
	switch {
	case m.Err != "":
		h.ledger.WithdrawPolicy()
		h.answer(c, a.ticket, messages.Failure{Text: m.Err})
		if !m.Refused {
			h.undo(c, a.name.Path)
		}
	case added:
		h.ledger.CommitPolicy()
		h.warnBeyond(c, a.name.Path, addition.Policy)
		h.answer(c, a.ticket, messages.SuccessText{Text: "added policy"})
		failpoint.Here("policy/addition-told")
	default:
		h.ledger.DropPolicy(a.name.Path)
		h.answer(c, a.ticket, messages.SuccessText{Text: "removed policy"})
		failpoint.Here("policy/removal-told")
	}
	waiting := h.policies.waiting
	h.policies.waiting = nil
	for _, next := range waiting {
		h.changePolicy(c, next)
	}
}

// warnBeyond logs that a policy exceeds the machine. The answer does not say so: native
// clients expect its usual text.
func (h *host) warnBeyond(c *supervise.Context, path messages.Path, p messages.Policy) {
	if beyond := ledger.Beyond(h.ledger.Machine(), p); len(beyond) > 0 {
		c.Log().Warn("A policy allows more than the machine has", "path", path.String(), "beyond", strings.Join(beyond, ", "))
	}
}

// undo follows a change that has failed: the change and its event may be on disk all the
// same, and would be valid for the next daemon. Another event reports the undoing.
func (h *host) undo(c *supervise.Context, path messages.Path) {
	var change messages.Change = messages.DeletePolicy{Path: path}
	kind := messages.EventPolicyRemoved
	if p, ok := h.ledger.Policy(path); ok {
		change, kind = messages.PutPolicy{Path: path, Policy: p}, messages.EventPolicyChanged
	}
	h.policies.undo = []messages.Change{change, messages.Happened(c.Now(), kind, messages.Name{Path: path}, undoing)}
	h.requestPolicy(c, h.policies.undo)
}

func (h *host) undone(c *supervise.Context, refusal messages.Public) {
	if refusal != "" {
		h.policies.undoing.Note(c, "Cannot undo the change of a policy", errors.New(string(refusal)))
		c.After(supervise.RetryAfter, retryUndo{})
		return
	}
	h.policies.undoing.Over(c)
	h.policies.undo = nil
}

package host

import (
	"fmt"
	"slices"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// Unikernels, networks and policies have their owners in their records. A block device has no record:
// its owner is on record before it is made, and off record when it is gone. A daemon that finds an
// owner of no block device on record removes it.
type blockOwners struct {
	of      map[messages.Name]messages.Owner
	writing map[uint64]ownerWrite // by the IDs of their requests to the store
}

// An ownerWrite is the owner of a block device that is being stored.
type ownerWrite struct {
	ask   ask
	owner messages.Owner
	makes messages.Option[int] // the block device is made then, of so many MB; absent: it exists
}

func newBlockOwners() blockOwners {
	return blockOwners{of: map[messages.Name]messages.Owner{}, writing: map[uint64]ownerWrite{}}
}

// holdOwners takes over the owners of block devices that exist.
func (h *host) holdOwners(c *supervise.Context, recorded map[messages.Name]messages.Block) {
	var gone []messages.Change
	for name, b := range recorded {
		if exists, _ := h.ledger.Device(name); exists {
			h.owners.of[name] = b.Owner
		} else {
			gone = append(gone, messages.DeleteBlock{Name: name})
		}
	}
	if len(gone) > 0 {
		c.Send(h.store, messages.StoreWrite{Changes: gone})
	}
}

// own gives something that has none an owner.
func (h *host) own(c *supervise.Context, a ask, command messages.OwnRequest) {
	if err := checkOwner(command.Owner); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	a.owner = command.Owner
	switch command.Kind {
	case messages.KindUnikernel:
		h.change(c, a)
	case messages.KindNetwork:
		h.changeNetwork(c, a)
	case messages.KindPolicy:
		h.changePolicy(c, a)
	case messages.KindBlock:
		h.ownBlock(c, a)
	}
}

// checkOwner refuses what is no owner, or nobody.
func checkOwner(owner messages.Owner) error {
	_, err := messages.ParseOwner(string(owner))
	return err
}

// mayOwn returns why an owner must not change a thing of some kind.
func mayOwn(kind messages.Kind, name messages.Name, has, asks messages.Owner) error {
	if err := has.CheckTaken(asks); err != nil {
		return fmt.Errorf("cannot change the %s %s: %w", kind, name, err)
	}
	return asks.Check()
}

// ownUnikernel gives a unikernel an owner.
func (h *host) ownUnikernel(c *supervise.Context, a ask, s *slot) {
	err := fmt.Errorf("cannot give %s an owner: there is no such unikernel", a.name)
	if s != nil {
		err = mayOwn(messages.KindUnikernel, a.name, s.current.spec.Owner, a.owner)
	}
	if err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	h.askPublish(c, a, s, s.current.spec.Arguments.Publish, a.owner)
}

// deployBlock makes a block device whose owner is on record first.
func (h *host) deployBlock(c *supervise.Context, a ask, command messages.BlockDeploy) {
	err := checkOwner(command.Owner)
	if err == nil {
		err = h.reserveNewBlock(a.name, command.Size)
	}
	if err != nil {
		h.refuse(c, a, err)
		return
	}
	a.command = messages.BlockAdd{Size: command.Size}
	h.recordOwner(c, ownerWrite{ask: a, owner: command.Owner, makes: messages.Some(command.Size)})
}

func (h *host) ownBlock(c *supervise.Context, a ask) {
	err := fmt.Errorf("cannot give %s an owner: there is no such block device", a.name)
	switch exists, busy := h.ledger.Device(a.name); {
	case busy:
		err = fmt.Errorf("cannot give the block device %s an owner: another command about it is under way: try again", a.name)
	case exists:
		err = mayOwn(messages.KindBlock, a.name, h.owners.of[a.name], a.owner)
	}
	if err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	h.recordOwner(c, ownerWrite{ask: a, owner: a.owner})
}

func (h *host) recordOwner(c *supervise.Context, w ownerWrite) {
	id := c.NewID()
	h.owners.writing[id] = w
	c.Request(h.store, messages.StoreWrite{ID: id, Changes: []messages.Change{
		messages.PutBlock{Name: w.ask.name, Block: messages.Block{Owner: w.owner}},
	}})
	failpoint.Here("block/owner-asked")
}

// ownerWritten goes on when the owner of a block device is on record. If it may be there although that
// has failed, it is removed.
func (h *host) ownerWritten(c *supervise.Context, m messages.StoreWritten) {
	w, asked := h.owners.writing[m.ID]
	delete(h.owners.writing, m.ID)
	name := w.ask.name
	switch {
	case !asked: // answered before, or something else
	case m.Err != "":
		if w.makes.OK {
			h.ledger.DropDevice(name)
		}
		if !m.Refused {
			c.Send(h.store, messages.StoreWrite{Changes: []messages.Change{h.blockRecord(name)}})
		}
		h.answer(c, w.ask.ticket, messages.Failure{Text: m.Err})
	case w.makes.OK:
		failpoint.Here("block/owner-recorded")
		h.owners.of[name] = w.owner
		h.startBlock(c, w.ask, w.makes.Value)
	default:
		if exists, _ := h.ledger.Device(name); exists {
			h.owners.of[name] = w.owner
		} else { // it has been removed meanwhile
			c.Send(h.store, messages.StoreWrite{Changes: []messages.Change{h.blockRecord(name)}})
		}
		h.answer(c, w.ask.ticket, messages.SuccessText{Text: "owner set"})
	}
}

// blockRecord returns the change that makes the record of a block device what the host knows of it.
func (h *host) blockRecord(name messages.Name) messages.Change {
	if owner := h.owners.of[name]; owner != "" {
		return messages.PutBlock{Name: name, Block: messages.Block{Owner: owner}}
	}
	return messages.DeleteBlock{Name: name}
}

// listOwners returns all that has an owner at and below a path, by kind and in the order of listings.
func (h *host) listOwners(of messages.Name) (list []messages.Owned) {
	add := func(kind messages.Kind, name messages.Name, owner messages.Owner) {
		if owner != "" && of.Covers(name) {
			list = append(list, messages.Owned{Kind: kind, Name: of.Relative(name), Owner: owner})
		}
	}
	for _, p := range h.ledger.Policies(messages.Name{}) {
		add(messages.KindPolicy, p.Name, p.Policy.Owner)
	}
	for _, n := range h.ledger.Networks(messages.Name{}) {
		add(messages.KindNetwork, n.Name, n.Spec.Owner)
	}
	for name, owner := range h.owners.of {
		add(messages.KindBlock, name, owner)
	}
	for name, s := range h.slots {
		if s.current != nil {
			add(messages.KindUnikernel, name, s.current.spec.Owner)
		}
	}
	slices.SortFunc(list, func(a, b messages.Owned) int {
		if a.Kind != b.Kind {
			return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
		}
		return a.Name.Compare(b.Name)
	})
	return list
}

var kinds = []messages.Kind{messages.KindPolicy, messages.KindNetwork, messages.KindBlock, messages.KindUnikernel}

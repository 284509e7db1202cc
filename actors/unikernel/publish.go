package unikernel

import (
	"context"
	"slices"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// publishing is the change of its published ports, or of its owner, that is under way.
type publishing struct {
	id      uint64                 // of the request; 0: none is under way
	former  []messages.Publication // the ports before
	owner   messages.Owner         // the owner before
	writing uint64                 // ID of the write; 0: the ports are being changed
}

// portsChanged is a message of the unikernel's own goroutine.
type portsChanged struct {
	id  uint64
	err error
}

// publishAsked changes which ports of the host lead to the unikernel: first on the machine, where
// that may be impossible, then on record. While the fate of the unikernel is being stored, what it
// is started with is decided already.
func (u *unikernel) publishAsked(c *supervise.Context, m messages.UnikernelPublish) {
	if u.state == forgetting {
		const refusal = "the unikernel has ended just now: try again"
		c.Send(u.Host, messages.UnikernelPublished{Name: u.Name, Run: u.Run, ID: m.ID, Spec: u.spec, Err: refusal})
		return
	}
	u.ports = publishing{id: m.ID, former: u.spec.Arguments.Publish, owner: u.spec.Owner}
	u.spec.Arguments.Publish, u.spec.Owner = m.List, m.Owner
	if slices.Equal(m.List, u.ports.former) {
		u.recordPorts(c)
		return
	}
	u.changePorts(c, u.ports.former, m.ID)
}

// changePorts makes the ports on the machine those of the specification.
func (u *unikernel) changePorts(c *supervise.Context, from []messages.Publication, id uint64) {
	machine, name, args := u.Machine, u.Name, u.spec.Arguments
	c.Go(func(ctx context.Context) any { return portsChanged{id, machine.Publish(ctx, name, args, from)} })
}

func (u *unikernel) portsChanged(c *supervise.Context, m portsChanged) {
	switch {
	case m.id != u.ports.id || m.id == 0: // undone
		u.trouble.Note(c, "Cannot undo a change of published ports", m.err)
	case m.err != nil:
		u.spec.Arguments.Publish, u.spec.Owner = u.ports.former, u.ports.owner
		u.reportPorts(c, c.Public(m.err))
	default:
		failpoint.Here("unikernel/ports-changed")
		u.recordPorts(c)
	}
}

func (u *unikernel) recordPorts(c *supervise.Context) {
	u.ports.writing = u.write(c, []messages.Change{messages.PutSpec{Name: u.Name, Spec: u.spec}})
}

// portsWritten ends a change. One that cannot be stored is undone.
func (u *unikernel) portsWritten(c *supervise.Context, failure messages.Public) {
	if failure != "" {
		changed := u.spec.Arguments.Publish
		u.spec.Arguments.Publish, u.spec.Owner = u.ports.former, u.ports.owner
		if !slices.Equal(changed, u.ports.former) {
			u.changePorts(c, changed, 0)
		}
	}
	u.reportPorts(c, failure)
}

func (u *unikernel) reportPorts(c *supervise.Context, failure messages.Public) {
	c.Send(u.Host, messages.UnikernelPublished{Name: u.Name, Run: u.Run, ID: u.ports.id, Spec: u.spec, Err: failure})
	u.ports = publishing{}
	if u.state == forgetting {
		u.forget(c)
	}
}

package host

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/block"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A blockJob is a command about a block device that is under way.
type blockJob struct {
	number  uint64
	pid     *actor.PID
	command messages.Command
}

// block carries out a command about a block device: the ledger marks the device busy, and
// an actor of its own does the work and answers.
func (h *host) block(c *supervise.Context, a ask) {
	size, err := h.reserveBlock(a)
	if err != nil {
		h.refuse(c, a, err)
		return
	}
	failpoint.Here("block/reserved")
	h.startBlock(c, a, size)
}

// startBlock makes the actor that carries out a command about a busy block device.
func (h *host) startBlock(c *supervise.Context, a ask, size int) {
	asker := h.open[a.ticket]
	delete(h.open, a.ticket)
	h.runs++
	pid := c.Child("block/"+a.name.String(), block.New(block.Config{
		Name: a.name, Run: h.runs, Dir: h.config.Blocks, Host: c.Self(), Work: h.config.Work,
		CheckUnused: h.config.Machine.CheckUnused,
	}))
	h.blocks[a.name] = blockJob{h.runs, pid, withoutData(a.command)}
	c.RequestFor(asker.PID, pid, messages.BlockDo{ID: asker.ID, Command: a.command, Size: size, Memory: a.memory})
	failpoint.Here("block/work-asked")
}

// reserveBlock marks the block device busy, and returns its size in MB.
func (h *host) reserveBlock(a ask) (size int, err error) {
	switch command := a.command.(type) {
	case messages.BlockAdd:
		return command.Size, h.reserveNewBlock(a.name, command.Size)
	case messages.BlockOldAdd:
		return command.Size, h.reserveNewBlock(a.name, command.Size)
	case messages.BlockRemove:
		return h.ledger.TakeDevice(a.name, "remove block")
	case messages.BlockSet, messages.BlockOldSet:
		return h.ledger.TakeDevice(a.name, "set block")
	case messages.BlockReserve:
		return h.ledger.TakeDevice(a.name, "reserve block")
	case messages.BlockDump:
		return h.reserveDump(a.name, command.Level)
	case messages.BlockOldDump:
		return h.reserveDump(a.name, command.Level)
	}
	return 0, fmt.Errorf("internal error: %T is no command about a block device", a.command)
}

func (h *host) reserveNewBlock(name messages.Name, size int) error {
	if err := nameable("a block device", name); err != nil {
		return err
	}
	return h.ledger.ReserveDevice(name, size)
}

func (h *host) reserveDump(name messages.Name, level int) (size int, err error) {
	if err := compressible(level); err != nil {
		return 0, err
	}
	return h.ledger.TakeDevice(name, "dump block")
}

// withoutData returns a command without the contents that the client has sent.
func withoutData(command messages.Command) messages.Command {
	switch command.(type) {
	case messages.BlockOldAdd:
		return messages.BlockOldAdd{}
	case messages.BlockOldSet:
		return messages.BlockOldSet{}
	}
	return command
}

// blockDone frees a block device.
func (h *host) blockDone(c *supervise.Context, m messages.BlockDone) {
	job, ok := h.blocks[m.Name]
	if !ok || job.number != m.Run {
		return // a former BlockDone has freed it
	}
	failpoint.Here("block/freed")
	delete(h.blocks, m.Name)
	c.Stop(job.pid)
	there := true
	var kind messages.EventKind
	switch job.command.(type) {
	case messages.BlockAdd, messages.BlockOldAdd:
		there, kind = !m.Gone, messages.EventBlockCreated
	case messages.BlockSet, messages.BlockOldSet:
		kind = messages.EventBlockSet
	case messages.BlockRemove:
		there, kind = !m.Gone, messages.EventBlockRemoved
	}
	if !there {
		delete(h.owners.of, m.Name)
	}
	var changes []messages.Change
	if !there || kind == messages.EventBlockCreated { // the owner of an earlier one may be on record, if the disk was full
		changes = append(changes, h.blockRecord(m.Name))
	}
	if kind != "" && !m.Failed {
		changes = append(changes, messages.Happened(c.Now(), kind, m.Name, messages.CommandCause(job.command)))
	}
	if len(changes) > 0 {
		c.Send(h.store, messages.StoreWrite{Changes: changes})
	}
	if there {
		h.ledger.FreeDevice(m.Name)
	} else {
		h.ledger.DropDevice(m.Name)
	}
}

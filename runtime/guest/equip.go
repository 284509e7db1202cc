package guest

import (
	"context"
	"errors"

	"albatross/messages"
	"albatross/runtime/cgroup"
	"albatross/runtime/failpoint"
	"albatross/runtime/fifo"
	"albatross/runtime/netif"
	"albatross/runtime/tender"
)

// equipment is what Equip has made.
type equipment struct {
	machine *Machine
	name    messages.Name
	plan    Plan
	taps    []*netif.Tap
}

// Equip makes the cgroup and the taps of a unikernel. The taps vanish with this process
// until they are kept; the cgroup has the name of the unikernel. After an error it still
// returns what it has made.
func (m *Machine) Equip(name messages.Name, p Plan) (Equipment, error) {
	e := &equipment{machine: m, name: name, plan: p}
	return e, e.make()
}

func (e *equipment) make() error {
	if trees := e.machine.Cgroups; trees != nil {
		if err := trees.Create(e.name, cgroup.Limits{Memory: e.plan.memory, CPUs: e.plan.cpus}); err != nil {
			return err
		}
	}
	failpoint.Here("equip/cgroup-made")
	for _, n := range e.plan.networks {
		tap, err := netif.Create(n.bridge)
		if err != nil {
			return err
		}
		e.taps = append(e.taps, tap)
		failpoint.Here("equip/tap-made")
	}
	return nil
}

func (e *equipment) Links() []messages.Link {
	var list []messages.Link
	for _, t := range e.taps {
		list = append(list, t.Link())
	}
	return list
}

func (e *equipment) Close() {
	for _, t := range e.taps {
		_ = t.Close() // what stays vanishes with this process
	}
}

// keep makes the taps outlive this process.
func (e *equipment) keep() error {
	for _, t := range e.taps {
		if err := t.Keep(); err != nil {
			return err
		}
		failpoint.Here("equip/tap-kept")
	}
	return nil
}

func (e *equipment) Launch(ctx context.Context) (Gated, error) {
	guest := e.plan.guest
	for i, n := range e.plan.networks {
		guest.Networks = append(guest.Networks, tender.Network{Name: n.name, Tap: e.taps[i].Link().Name, MAC: n.mac})
	}
	output, console, err := fifo.Unname(e.machine.Console(e.name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = errors.Join(output.Close(), console.Close()) }()
	var entrance cgroup.Entrance
	if e.machine.Cgroups != nil {
		entrance = e.machine.Cgroups.Entrance(e.name)
	}
	g, err := e.machine.Keeping.launch(ctx, tender.Command{
		Launcher: e.machine.Launcher,
		Tasks:    entrance.Tasks,
		Cgroup:   entrance.Dir,
		CPUs:     e.plan.cpus,
		Confine:  e.machine.Confine,
		Program:  e.plan.tender.Program,
		Args:     append(e.plan.tender.Prefix, tender.Args(guest)...),
		Output:   output,
		Name:     e.name,
		Dirs:     e.machine.cgroupDirs(e.name),
		Console:  console,
	})
	if err != nil {
		return nil, err
	}
	return &gated{Gated: g, equipment: e}, nil
}

// cgroupDirs returns the directories of the cgroup of a unikernel, and their parents.
func (m *Machine) cgroupDirs(name messages.Name) []string {
	if m.Cgroups == nil {
		return nil
	}
	return m.Cgroups.Dirs(name)
}

// gated is a launched process with its equipment.
type gated struct {
	*tender.Gated
	equipment *equipment
}

// Abort ends the process, of which there is no record that anybody would look for.
func (g *gated) Abort() error {
	err := g.Gated.Abort()
	g.equipment.machine.Acknowledge(g.Process())
	return err
}

func (g *gated) Release(ctx context.Context) (Tender, error) {
	defer g.equipment.Close() // those that were not kept
	if err := g.equipment.keep(); err != nil {
		return nil, errors.Join(err, g.Abort())
	}
	if err := g.Gated.Release(ctx); err != nil {
		g.equipment.machine.Acknowledge(g.Process())
		return nil, err
	}
	g.equipment.machine.reportMissing(g.Missing())
	return &held{Handle: g.Handle(), machine: g.equipment.machine, name: g.equipment.name}, nil
}

// reportMissing reports layers of the confinement that a tender does without.
func (m *Machine) reportMissing(layers []string) {
	if m.Missing == nil {
		return
	}
	for _, text := range layers {
		m.Missing(text)
	}
}

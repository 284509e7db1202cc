package guest

import (
	"context"
	"errors"
	"time"

	"albatross/messages"
	"albatross/runtime/cgroup"
	"albatross/runtime/failpoint"
	"albatross/runtime/fifo"
	"albatross/runtime/netif"
	"albatross/runtime/network"
	"albatross/runtime/tender"
)

// equipment is what Equip has made.
type equipment struct {
	machine *Machine
	name    messages.Name
	plan    Plan
	plugs   []network.Plug
	used    bool // a tender has got it
}

// plugTimeout bounds what a network takes to accept a device.
const plugTimeout = 10 * time.Second

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
		plug, err := e.plug(n)
		if err != nil {
			return err
		}
		e.plugs = append(e.plugs, plug)
		failpoint.Here("equip/tap-made")
	}
	return nil
}

func (e *equipment) plug(a attachment) (network.Plug, error) {
	if !a.named {
		tap, err := netif.Create(a.bridge)
		return network.Plug{Tap: tap}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), plugTimeout)
	defer cancel()
	return e.machine.Networks.Plug(ctx, a.bridge, a.station)
}

func (e *equipment) Links() []messages.Link {
	var list []messages.Link
	for _, p := range e.plugs {
		if p.Tap == nil {
			list = append(list, messages.Link{})
			continue
		}
		list = append(list, p.Tap.Link())
	}
	return list
}

func (e *equipment) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), plugTimeout)
	defer cancel()
	for _, p := range e.plugs {
		if !e.used {
			p.Withdraw(ctx)
		}
		_ = p.Close() // what stays vanishes with this process
	}
}

// keep makes the taps outlive this process.
func (e *equipment) keep() error {
	for _, p := range e.plugs {
		if p.Tap == nil {
			continue
		}
		if err := p.Tap.Keep(); err != nil {
			return err
		}
		failpoint.Here("equip/tap-kept")
	}
	return nil
}

func (e *equipment) Launch(ctx context.Context) (Gated, error) {
	guest := e.plan.guest
	for i, n := range e.plan.networks {
		device := tender.Network{Name: n.name, MAC: n.station.MAC, Pair: e.plugs[i].Pair, MTU: e.plugs[i].MTU}
		if tap := e.plugs[i].Tap; tap != nil {
			device.Tap = tap.Link().Name
		}
		guest.Networks = append(guest.Networks, device)
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
		Void:     e.machine.Void,
		Program:  e.plan.tender.Program,
		Args:     append(e.plan.tender.Prefix, tender.Args(guest)...),
		Output:   output,
		Files:    guest.Files(),
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
	g.equipment.used = true
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

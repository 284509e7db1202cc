package actors

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/cgroup"
	"albatross/runtime/failpoint"
	"albatross/runtime/fifo"
	"albatross/runtime/netif"
	"albatross/runtime/tender"
)

// equip makes the cgroup and the taps of a unikernel. The taps vanish with this
// process until they are kept; the cgroup has the name of the unikernel. They
// are returned even where another one could not be made.
func (g *Config) equip(name messages.Name, p plan) (taps []*netif.Tap, err error) {
	if g.Cgroups != nil {
		if err := g.Cgroups.Create(name, cgroup.Limits{Memory: p.memory, CPUs: p.cpus}); err != nil {
			return nil, err
		}
	}
	failpoint.Here("equip/cgroup-made")
	for _, n := range p.networks {
		tap, err := netif.Create(n.bridge)
		if err != nil {
			return taps, err
		}
		taps = append(taps, tap)
		failpoint.Here("equip/tap-made")
	}
	return taps, nil
}

func links(taps []*netif.Tap) []messages.Link {
	var list []messages.Link
	for _, t := range taps {
		list = append(list, t.Link())
	}
	return list
}

// ports are the taps with the names that the unikernel has for them. Both are in
// the order of its networks.
func ports(args messages.Arguments, taps []messages.Link) []messages.Port {
	list := make([]messages.Port, min(len(taps), len(args.Networks)))
	for i := range list {
		list[i] = messages.Port{Device: args.Networks[i].Name, Link: taps[i]}
	}
	return list
}

func closeTaps(taps []*netif.Tap) {
	for _, t := range taps {
		_ = t.Close() // what does not go now goes with this process
	}
}

// launch makes a process that waits to become the tender.
func (g *Config) launch(ctx context.Context, name messages.Name, p plan, taps []messages.Link) (*tender.Gated, error) {
	guest := p.guest
	for i, n := range p.networks {
		guest.Networks = append(guest.Networks, tender.Network{Name: n.name, Tap: taps[i].Name, MAC: n.mac})
	}
	console, err := fifo.OpenWriter(fifo.Path(g.FIFODir, name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = console.Close() }()
	var entrance cgroup.Entrance
	if g.Cgroups != nil {
		entrance = g.Cgroups.Entrance(name)
	}
	return tender.Launch(ctx, tender.Command{
		Launcher: g.Launcher,
		Tasks:    entrance.Tasks,
		Cgroup:   entrance.Dir,
		CPUs:     p.cpus,
		Program:  p.tender.Program,
		Args:     append(p.tender.Prefix, tender.Args(guest)...),
		Output:   console,
	})
}

// release lets the process become the tender, with the taps that are its own
// from now on.
func release(ctx context.Context, gated *tender.Gated, taps []*netif.Tap) error {
	defer closeTaps(taps) // those that have not been kept
	for _, t := range taps {
		if err := t.Keep(); err != nil {
			return errors.Join(err, gated.Abort())
		}
		failpoint.Here("equip/tap-kept")
	}
	return gated.Release(ctx)
}

// seenEnd is how a tender has ended, with what its cgroup tells of that: whose end
// nobody has seen may have been killed for want of memory.
func (g *Config) seenEnd(name messages.Name, exit messages.Exit) messages.Exit {
	if g.Cgroups == nil || exit.Known && exit.Signal != int(unix.SIGKILL) {
		return exit
	}
	if killed, err := g.Cgroups.OutOfMemory(name); err != nil || !killed {
		return exit
	}
	return messages.Exit{Known: true, Signal: int(unix.SIGKILL), OutOfMemory: true}
}

// free gives back all that a unikernel had, as far as it is there.
func (g *Config) free(name messages.Name, taps []messages.Link) error {
	err := fifo.Remove(fifo.Path(g.FIFODir, name))
	failpoint.Here("equip/fifo-removed")
	for _, link := range taps {
		err = errors.Join(err, netif.Remove(link))
		failpoint.Here("equip/tap-removed")
	}
	if g.Cgroups != nil {
		err = errors.Join(err, g.Cgroups.Remove(name))
	}
	failpoint.Here("equip/all-removed")
	return err
}

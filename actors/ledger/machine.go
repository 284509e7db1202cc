package ledger

import (
	"errors"
	"fmt"
	"slices"

	"albatross/messages"
)

// HoldMachine records what the machine has, which is the policy of the root unless
// another one was set. It reports whether anything has changed.
func (l *Ledger) HoldMachine(p messages.Policy) (changed bool) {
	l.measured = p
	p.Bridges = append(slices.Clone(p.Bridges), l.userNetworks()...)
	p = normal(p)
	changed = !l.machine.OK || !equal(l.machine.Value, p)
	l.machine = messages.Some(p)
	if !l.rootSet {
		l.HoldPolicy(messages.Root, p)
	}
	return changed
}

// Machine returns what the machine has.
func (l *Ledger) Machine() messages.Policy { return l.machine.Value }

// RootIsMachine reports whether the policy of the root is what the machine has.
func (l *Ledger) RootIsMachine() bool { return l.machine.OK && !l.rootSet }

// A machineError refuses something that the machine does not have.
type machineError struct{ error }

// ByMachine reports whether something was refused because of the machine.
func ByMachine(err error) bool {
	var l machineError
	return errors.As(err, &l)
}

// refusal explains why the policy of a path refuses something. A bridge that the machine
// lacks does not exist.
func (l *Ledger) refusal(path messages.Path, err error) error {
	if path != messages.Root || !l.RootIsMachine() {
		return err
	}
	var bridges bridgesError
	if errors.As(err, &bridges) {
		err = fmt.Errorf("interface %s does not exist", bridges[0])
	}
	return machineError{err}
}

// Demand returns what all that exists needs of the machine.
func (l *Ledger) Demand() messages.Policy {
	used := l.used[messages.Root]
	p := messages.Policy{Unikernels: used.unikernels, Memory: used.memory}
	if used.block > 0 {
		p.Block = messages.Some(used.block)
	}
	for _, c := range l.claims {
		for args := range c.each {
			p.CPUIDs, p.Bridges = append(p.CPUIDs, args.CPUIDs...), append(p.Bridges, Bridges(args)...)
		}
	}
	return normal(p)
}

// Beyond returns in words what a policy has more than a machine.
func Beyond(machine, p messages.Policy) (list []string) {
	if cpus := without(p.CPUIDs, machine.CPUIDs); len(cpus) > 0 {
		list = append(list, "CPU "+some(set(cpus)))
	}
	if bridges := without(p.Bridges, machine.Bridges); len(bridges) > 0 {
		list = append(list, "bridge "+some(set(bridges)))
	}
	if p.Unikernels > machine.Unikernels {
		list = append(list, fmt.Sprintf("%d unikernels (there may be %d)", p.Unikernels, machine.Unikernels))
	}
	if p.Memory > machine.Memory {
		list = append(list, fmt.Sprintf("%d MB of memory (there are %d MB)", p.Memory, machine.Memory))
	}
	if has := machine.Block.Or(0); p.Block.Or(0) > has {
		list = append(list, fmt.Sprintf("%d MB for block devices (there are %d MB)", p.Block.Value, has))
	}
	return list
}

// maxShown bounds how much of a long list is shown.
const maxShown = 10

func some[T any](list []T) string {
	if len(list) <= maxShown {
		return join(list)
	}
	return fmt.Sprintf("%s and %d more", join(list[:maxShown]), len(list)-maxShown)
}

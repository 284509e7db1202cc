package ledger

import (
	"errors"
	"fmt"
	"slices"

	"albatross/messages"
)

// A proposal is a policy that is not on disk yet. It and the one that it is going to
// replace both limit meanwhile: whatever becomes of it, nothing wrong was allowed.
type proposal struct {
	path   messages.Path
	policy messages.Policy
}

// above yields the policies at a path and above it, nearest first.
func (l *Ledger) above(path messages.Path) func(yield func(messages.Path, messages.Policy) bool) {
	return func(yield func(messages.Path, messages.Policy) bool) {
		for at := range upwards(path) {
			if p, ok := l.policies[at]; ok && !yield(at, p) {
				return
			}
			if l.proposed.OK && l.proposed.Value.path == at && !yield(at, l.proposed.Value.policy) {
				return
			}
		}
	}
}

// HoldPolicy sets the policy of a path, whatever runs there.
func (l *Ledger) HoldPolicy(path messages.Path, p messages.Policy) { l.policies[path] = normal(p) }

// ProposePolicy is the first half of setting the policy of a path; there is one proposal
// at a time. CommitPolicy or WithdrawPolicy ends it, unless nothing changes. The error
// says why the policy is refused.
func (l *Ledger) ProposePolicy(path messages.Path, p messages.Policy) (changes bool, err error) {
	if l.proposed.OK {
		return false, errors.New("internal error: another policy is being changed")
	}
	p = normal(p)
	if old, ok := l.policies[path]; ok && equal(old, p) {
		return false, nil
	}
	if err := usable(p); err != nil {
		return false, err
	}
	if err := l.fitsNumber(path); err != nil {
		return false, err
	}
	if err := l.fitsPolicies(path, p); err != nil {
		return false, err
	}
	if err := l.fitsUsage(path, p); err != nil {
		return false, err
	}
	l.proposed = messages.Some(proposal{path, p})
	return true, nil
}

// CommitPolicy puts the proposed policy into force.
func (l *Ledger) CommitPolicy() {
	path := l.proposed.Value.path
	l.policies[path] = l.proposed.Value.policy
	l.rootSet = l.rootSet || path == messages.Root
	l.WithdrawPolicy()
}

// WithdrawPolicy drops the proposed policy.
func (l *Ledger) WithdrawPolicy() { l.proposed = messages.Option[proposal]{} }

// Policy returns the policy of a path, if it has one of its own.
func (l *Ledger) Policy(path messages.Path) (messages.Policy, bool) {
	p, ok := l.policies[path]
	return p, ok
}

// DropPolicy removes the policy of a path. That of the root is then what the machine has.
func (l *Ledger) DropPolicy(path messages.Path) {
	delete(l.policies, path)
	if path == messages.Root && l.machine.OK {
		l.rootSet = false
		l.HoldPolicy(messages.Root, l.machine.Value)
	}
}

// Policies returns those that a query for name shows, with names relative to it,
// in the order of listings.
func (l *Ledger) Policies(name messages.Name) []messages.NamedPolicy {
	at := messages.Name{Path: name.Path} // a policy command uses only the path
	var list []messages.NamedPolicy
	for path := range l.policies {
		if at.Path.Contains(path) {
			list = append(list, messages.NamedPolicy{Name: at.Relative(messages.Name{Path: path}), Policy: l.policies[path]})
		}
	}
	slices.SortFunc(list, func(a, b messages.NamedPolicy) int { return a.Name.Compare(b.Name) })
	return list
}

// normal returns a policy whose sets are sorted and without duplicates.
func normal(p messages.Policy) messages.Policy {
	p.CPUIDs, p.Bridges = set(p.CPUIDs), set(p.Bridges)
	return p
}

func set[T int | string](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func equal(a, b messages.Policy) bool {
	return a.Damaged == b.Damaged && a.Owner == b.Owner && a.Unikernels == b.Unikernels && a.Memory == b.Memory && a.Block == b.Block &&
		slices.Equal(a.CPUIDs, b.CPUIDs) && slices.Equal(a.Bridges, b.Bridges)
}

// errDamaged is why nothing is allowed below a policy whose record was damaged.
var errDamaged = errors.New("the policy was damaged on disk and allows nothing until it is added again")

// minMemory is the memory, in MB, that is too little for anything.
const minMemory = 16

// usable returns why nothing could run with a policy.
func usable(p messages.Policy) error {
	switch {
	case p.Unikernels <= 0:
		//lint:ignore ST1005 the text of native albatross
		return errors.New("Unusable policy with no unikernels")
	case len(p.CPUIDs) == 0:
		//lint:ignore ST1005 the text of native albatross
		return errors.New("Unusable policy with no CPUids")
	case p.Memory <= minMemory:
		//lint:ignore ST1005 the text of native albatross
		return fmt.Errorf("Unusable policy with memory %d MB <= %d MB", p.Memory, minMemory)
	case p.Block.OK && p.Block.Value < 0:
		//lint:ignore ST1005 the text of native albatross
		return fmt.Errorf("Unusable policy with block %d MB < 0 MB", p.Block.Value)
	}
	for _, b := range p.Bridges {
		if err := messages.CheckInterface(b); err != nil {
			return fmt.Errorf("cannot allow a bridge: %w", err)
		}
	}
	return nil
}

// policiesBeside is how many policies may be below a path, in addition to one for each
// unikernel that its own policy allows.
const policiesBeside = 16

// fitsNumber returns an error if there are too many policies below a path for another
// one. Below the root their number is unlimited.
func (l *Ledger) fitsNumber(path messages.Path) error {
	if _, there := l.policies[path]; there {
		return nil
	}
	for at, super := range l.above(path) {
		below := 0
		for other := range l.policies {
			if other != at && at.Contains(other) {
				below++
			}
		}
		if at != messages.Root && at != path && below-policiesBeside >= super.Unikernels {
			return fmt.Errorf("cannot add a policy: there are %d below %s, whose own allows %d unikernels, and no more are possible: remove one", below, at, super.Unikernels)
		}
	}
	return nil
}

// fitsPolicies returns an error if a policy conflicts with one at path. The policy of the
// root conflicts with none: it changes with the machine.
func (l *Ledger) fitsPolicies(path messages.Path, p messages.Policy) error {
	for at, super := range l.above(path) {
		if at != path && at != messages.Root {
			if err := smaller(super, p); err != nil {
				return err
			}
		}
	}
	for at, sub := range l.policies {
		if at != path && path.Contains(at) {
			if err := smaller(p, sub); err != nil {
				return err
			}
		}
	}
	return nil
}

// smaller returns an error if sub allows more than super.
func smaller(super, sub messages.Policy) error {
	block := super.Block.Or(0)
	switch {
	case super.Damaged:
		return errDamaged
	case super.Unikernels < sub.Unikernels:
		return fmt.Errorf("policy above allows %d unikernels, which is fewer than %d", super.Unikernels, sub.Unikernels)
	case super.Memory < sub.Memory:
		return fmt.Errorf("policy above allows %d MB memory, which is fewer than %d MB", super.Memory, sub.Memory)
	case len(without(sub.CPUIDs, super.CPUIDs)) > 0:
		return fmt.Errorf("policy above does not allow CPUids %s", join(without(sub.CPUIDs, super.CPUIDs)))
	case len(without(sub.Bridges, super.Bridges)) > 0:
		return fmt.Errorf("policy above allows bridge(s) %s, which is not a superset of %s", join(super.Bridges), join(sub.Bridges))
	case sub.Block.OK && (!super.Block.OK || block < sub.Block.Value):
		return fmt.Errorf("policy above allows %d MB block storage, which is fewer than %d MB", block, sub.Block.Value)
	}
	return nil
}

// fitsUsage returns why existing unikernels and devices exceed a policy.
func (l *Ledger) fitsUsage(path messages.Path, p messages.Policy) error {
	var cpus []int
	var bridges []string
	for name, c := range l.claims {
		if path.Contains(name.Path) {
			for args := range c.each {
				cpus, bridges = append(cpus, args.CPUIDs...), append(bridges, Bridges(args)...)
			}
		}
	}
	used, block := l.used[path], p.Block.Or(0)
	switch {
	case len(without(cpus, p.CPUIDs)) > 0:
		return fmt.Errorf("policy does not allow CPUids %s", join(set(without(cpus, p.CPUIDs))))
	case len(without(bridges, p.Bridges)) > 0:
		return fmt.Errorf("policy allows bridges %s, which is not a superset of %s", join(p.Bridges), join(set(bridges)))
	case used.unikernels > p.Unikernels:
		return fmt.Errorf("unikernel would exceed running unikernel limit set by policy to %d, running %d", p.Unikernels, used.unikernels)
	case used.memory > p.Memory:
		return fmt.Errorf("unikernel would exceed running memory limit set by policy to %d MB, used %d MB", p.Memory, used.memory)
	case used.block > block:
		return fmt.Errorf("unikernel would exceed running block storage limit set by policy to %d MB, used %d MB", block, used.block)
	}
	return nil
}

// Package ledger decides what may run. It holds the policies, the block devices and all
// promises to unikernels. It admits a new unikernel only if that exceeds no policy at or above
// it and shares no block device.
//
// It is pure: no clock, no operating system. The host actor is its only owner. A reservation
// counts at once, so that two unikernels that are being created can never both get the last
// megabyte. The cost of a decision about a unikernel or a block device grows with the depth
// of the name, not with their number.
//
//	ledger.go    unikernels: reservations, and why one is refused
//	policies.go  policies: why one cannot be set or replaced
//	machine.go   the machine: what it has, and what exceeds that
//	devices.go   block devices: their sizes, and who uses them
//	stations.go  MAC addresses on bridges: who has them
//	networks.go  named networks: who has which IP address, and which ports are published
package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"albatross/messages"
)

// A Ledger is made by New.
type Ledger struct {
	policies map[messages.Path]messages.Policy
	proposed messages.Option[proposal]
	machine  messages.Option[messages.Policy] // what it has, if that is known
	rootSet  bool                             // the policy of the root was set, and is not that of the machine
	claims   map[messages.Name]claim
	used     map[messages.Path]usage // at and below; no entry for nothing
	devices  map[messages.Name]device
	users    map[messages.Name]messages.Name      // block device, existing or not, to its unikernel
	stations map[messages.Station][]messages.Name // who has the address; older daemons gave one to several
	networks map[string]*network                  // by the name of the bridge
	ports    map[port][]publisher                 // of the host
	measured messages.Policy                      // of the machine, without networks in user mode
}

// usage is the sum of all claims and block devices at and below a path.
type usage struct {
	unikernels int
	memory     int // MB
	block      int // MB
}

// A claim is what is promised to one name. While a unikernel is being replaced, that is
// what the old and the new one need, one at a time.
type claim struct {
	now  messages.Arguments
	next messages.Option[messages.Arguments]
}

// memory returns what the claim counts for, in MB.
func (c claim) memory() int { return max(c.now.Memory, c.next.Value.Memory) }

// each yields the arguments that the claim covers.
func (c claim) each(yield func(messages.Arguments) bool) {
	if yield(c.now) && c.next.OK {
		yield(c.next.Value)
	}
}

// New returns a ledger without policies: everything is allowed except block devices that
// do not exist.
func New() *Ledger {
	return &Ledger{
		policies: map[messages.Path]messages.Policy{},
		claims:   map[messages.Name]claim{},
		used:     map[messages.Path]usage{},
		devices:  map[messages.Name]device{},
		users:    map[messages.Name]messages.Name{},
		stations: map[messages.Station][]messages.Name{},
		networks: map[string]*network{},
		ports:    map[port][]publisher{},
	}
}

// Holds reports whether anything is promised to the name.
func (l *Ledger) Holds(name messages.Name) bool {
	_, ok := l.claims[name]
	return ok
}

// ErrRunning says that a name is taken.
var ErrRunning = errors.New("Unikernel with same name is already running") //lint:ignore ST1005 the text of native albatross

// Reserve reserves what a new unikernel needs, or returns why not. The texts are for
// clients.
func (l *Ledger) Reserve(name messages.Name, args messages.Arguments) error {
	if l.Holds(name) {
		return ErrRunning
	}
	if err := l.check(name, args, usage{unikernels: 1, memory: args.Memory}); err != nil {
		return err
	}
	l.set(name, claim{now: args})
	return nil
}

// ReserveNext reserves what the successor of a unikernel needs, not counting the old one.
// Commit or Release ends it.
func (l *Ledger) ReserveNext(name messages.Name, args messages.Arguments) error {
	old, ok := l.claims[name]
	if !ok || old.next.OK {
		return fmt.Errorf("internal error: %s cannot be replaced now", name)
	}
	next := claim{now: old.now, next: messages.Some(args)}
	more := next.memory() - old.memory()
	if err := l.check(name, args, usage{memory: more}); err != nil {
		return err
	}
	l.set(name, next)
	return nil
}

// Hold records what runs already, whatever the policies say.
func (l *Ledger) Hold(name messages.Name, args messages.Arguments) { l.set(name, claim{now: args}) }

// Commit replaces a unikernel by its successor.
func (l *Ledger) Commit(name messages.Name) {
	if c, ok := l.claims[name]; ok && c.next.OK {
		l.set(name, claim{now: c.next.Value})
	}
}

// Release ends the last promise: that to the successor if there is one, else that to the
// unikernel itself.
func (l *Ledger) Release(name messages.Name) {
	c, ok := l.claims[name]
	switch {
	case !ok:
	case c.next.OK:
		l.set(name, claim{now: c.now})
	default:
		l.drop(name)
	}
}

// Revert replaces the promise to a unikernel by one to what it has replaced, or returns
// why not. The promise to its successor stays.
func (l *Ledger) Revert(name messages.Name, args messages.Arguments) error {
	now := l.claims[name]
	back := claim{now: args, next: now.next}
	l.drop(name)
	err := l.check(name, args, usage{unikernels: 1, memory: back.memory()})
	if err != nil {
		back = now
	}
	l.set(name, back)
	return err
}

// Rename makes the promise to a unikernel that is not being replaced one to another name, which needs
// args there, or returns why not.
func (l *Ledger) Rename(from, to messages.Name, args messages.Arguments) error {
	now, ok := l.claims[from]
	if !ok || now.next.OK || l.Holds(to) {
		return fmt.Errorf("internal error: %s cannot be renamed to %s now", from, to)
	}
	l.drop(from)
	if err := l.check(to, args, usage{unikernels: 1, memory: args.Memory}); err != nil {
		l.set(from, now)
		return err
	}
	l.set(to, claim{now: args})
	return nil
}

// set makes c the claim of name.
func (l *Ledger) set(name messages.Name, c claim) {
	l.drop(name)
	l.claims[name] = c
	l.count(name.Path, usage{unikernels: 1, memory: c.memory()})
	for args := range c.each {
		for _, n := range Devices(name, args) {
			l.users[n] = name
		}
		for _, s := range Stations(name, args) {
			l.stations[s] = append(l.stations[s], name)
		}
		l.join(name, args)
	}
}

// drop removes the claim of name, if there is one.
func (l *Ledger) drop(name messages.Name) {
	c, ok := l.claims[name]
	if !ok {
		return
	}
	delete(l.claims, name)
	l.count(name.Path, usage{unikernels: -1, memory: -c.memory()})
	for args := range c.each {
		for _, n := range Devices(name, args) {
			if l.users[n] == name {
				delete(l.users, n)
			}
		}
		for _, s := range Stations(name, args) {
			l.leave(s, name)
		}
		l.part(name, args)
	}
}

// count adds to what is used at a path and all above it.
func (l *Ledger) count(path messages.Path, more usage) {
	for at := range upwards(path) {
		u := l.used[at]
		u = usage{u.unikernels + more.unikernels, u.memory + more.memory, u.block + more.block}
		if u == (usage{}) {
			delete(l.used, at)
		} else {
			l.used[at] = u
		}
	}
}

// check returns why a unikernel is refused that adds more to what is used: first by the
// policy of its own path, then by those above.
func (l *Ledger) check(name messages.Name, args messages.Arguments, more usage) error {
	if args.Memory <= 0 {
		return fmt.Errorf("cannot run with %d MB of memory", args.Memory)
	}
	for path, p := range l.above(name.Path) {
		if err := allows(p, l.used[path], more, args); err != nil {
			return l.refusal(path, err)
		}
	}
	if err := l.checkDevices(name, args); err != nil {
		return err
	}
	if err := l.checkStations(name, args); err != nil {
		return err
	}
	return l.checkNetworks(name, args)
}

// allows checks one policy.
func allows(p messages.Policy, used, more usage, args messages.Arguments) error {
	if p.Damaged {
		return errDamaged
	}
	if more.unikernels > max(0, p.Unikernels-used.unikernels) {
		return fmt.Errorf("maximum amount of unikernels (%d) reached", p.Unikernels)
	}
	// A difference, because a sum may overflow.
	if more.memory > max(0, p.Memory-used.memory) {
		free := args.Memory - more.memory // of the one that is replaced
		return fmt.Errorf("maximum allowed memory (%d, used %d) would be exceeded (requesting %d)",
			p.Memory, used.memory-free, args.Memory)
	}
	if bad := without(args.CPUIDs, p.CPUIDs); len(bad) > 0 {
		return fmt.Errorf("CPUids %s are not allowed by policy", join(set(bad))) // as natively
	}
	if bad := without(Bridges(args), p.Bridges); len(bad) > 0 {
		return bridgesError(bad)
	}
	return nil
}

// A bridgesError refuses bridges.
type bridgesError []string

func (b bridgesError) Error() string { return fmt.Sprintf("bridges %s not allowed by policy", join(b)) }

// Bridges returns the bridges that a unikernel is attached to.
func Bridges(args messages.Arguments) []string {
	bridges := make([]string, len(args.Networks))
	for i, n := range args.Networks {
		bridges[i] = n.OnBridge()
	}
	return bridges
}

// MaxUnikernels returns how many unikernels may run at a path, by the nearest policy at
// or above it.
func (l *Ledger) MaxUnikernels(path messages.Path) int {
	for _, p := range l.above(path) {
		return p.Unikernels
	}
	return messages.MaxInt
}

// upwards yields a path and all above it, the root last.
func upwards(path messages.Path) func(yield func(messages.Path) bool) {
	return func(yield func(messages.Path) bool) {
		for at := path; yield(at) && at != messages.Root; at = at.Parent() {
		}
	}
}

// without returns the elements of list that are not in allowed.
func without[T comparable](list, allowed []T) []T {
	var bad []T
	for _, e := range list {
		if !slices.Contains(allowed, e) {
			bad = append(bad, e)
		}
	}
	return bad
}

func join[T any](list []T) string {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = fmt.Sprint(e)
	}
	return strings.Join(texts, ", ")
}

package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"albatross/messages"
)

// A network is a named network, with who has which address. While a unikernel is being replaced,
// its successor may have the same.
type network struct {
	messages.NamedNetwork
	addresses map[netip.Addr][]messages.Name
	closed    bool // it is being removed
}

// A port of the host.
type port struct {
	udp    bool
	number uint16
}

// A publisher is a unikernel that a port of the host leads to.
type publisher struct {
	name        messages.Name
	publication messages.Publication
}

// MaxPublications bounds the published ports of a unikernel.
const MaxPublications = 64

// maxSubnet is the largest number of bits of a host in an address that is assigned: an address is
// looked for among the first 2^24 of a subnet.
const maxSubnet = 24

// OwnNetwork sets the owner of a network that exists.
func (l *Ledger) OwnNetwork(bridge string, owner messages.Owner) {
	if n := l.networks[bridge]; n != nil {
		n.Spec.Owner = owner
	}
}

// HoldNetwork records a named network.
func (l *Ledger) HoldNetwork(n messages.NamedNetwork) {
	bridge, err := messages.BridgeOf(n.Name)
	if err != nil {
		return // none has been made
	}
	made := &network{NamedNetwork: n, addresses: map[netip.Addr][]messages.Name{}}
	l.networks[bridge] = made
	for name, c := range l.claims {
		for args := range c.each {
			for _, device := range args.Networks {
				if device.OnBridge() == bridge {
					made.join(name, device)
				}
			}
		}
	}
	l.machineAgain()
}

// machineAgain counts the networks that are no bridges of the machine.
func (l *Ledger) machineAgain() {
	if l.machine.OK {
		l.HoldMachine(l.measured)
	}
}

// DropNetwork forgets a named network.
func (l *Ledger) DropNetwork(bridge string) {
	delete(l.networks, bridge)
	l.machineAgain()
}

// CloseNetwork makes a network refuse unikernels, or accept them again.
func (l *Ledger) CloseNetwork(bridge string, closed bool) {
	if n := l.networks[bridge]; n != nil {
		n.closed = closed
	}
}

// Network returns the named network of a bridge, if it is one.
func (l *Ledger) Network(bridge string) (messages.NamedNetwork, bool) {
	n, ok := l.networks[bridge]
	if !ok {
		return messages.NamedNetwork{}, false
	}
	return n.NamedNetwork, true
}

// Networks returns the named networks at and below a path, in the order of listings.
func (l *Ledger) Networks(of messages.Name) (list []messages.NamedNetwork) {
	for _, n := range l.networks {
		if of.Covers(n.Name) {
			list = append(list, n.NamedNetwork)
		}
	}
	slices.SortFunc(list, func(a, b messages.NamedNetwork) int { return a.Name.Compare(b.Name) })
	return list
}

// UsersOf returns the unikernels on a bridge, in the order of listings.
func (l *Ledger) UsersOf(bridge string) (list []messages.Name) {
	for name, c := range l.claims {
		for args := range c.each {
			if slices.Contains(Bridges(args), bridge) && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	slices.SortFunc(list, messages.Name.Compare)
	return list
}

// CheckNetwork returns why a network cannot be made beside the others.
func (l *Ledger) CheckNetwork(n messages.NamedNetwork) error {
	bridge, err := messages.BridgeOf(n.Name)
	if err != nil {
		return err
	}
	for other, o := range l.networks {
		switch {
		case other == bridge && o.Name == n.Name:
			return fmt.Errorf("cannot make network %s: it exists", n.Name)
		case other == bridge:
			return fmt.Errorf("cannot make network %s: network %s has a bridge of the same name", n.Name, o.Name)
		case o.Spec.Gateway.Overlaps(n.Spec.Gateway), overlap(o.Spec.Gateway6, n.Spec.Gateway6):
			return fmt.Errorf("cannot make network %s: its subnet overlaps that of network %s (%s): choose another with --subnet", n.Name, o.Name, o.Spec.Subnet())
		}
	}
	return nil
}

func overlap(a, b netip.Prefix) bool { return a.IsValid() && b.IsValid() && a.Overlaps(b) }

// userNetworks returns the names of the networks that are no bridges of the machine.
func (l *Ledger) userNetworks() (list []string) {
	for bridge, n := range l.networks {
		if n.Spec.Backend == messages.UserNetwork {
			list = append(list, bridge)
		}
	}
	return list
}

// Assign returns the arguments of a unikernel with addresses on named networks: those that it asks
// for, else those that it has, else free ones. These follow from its MAC addresses, so that it mostly
// gets the same again when it is created anew.
func (l *Ledger) Assign(name messages.Name, args messages.Arguments) (messages.Arguments, error) {
	args.Networks = slices.Clone(args.Networks)
	for i := range args.Networks {
		device := &args.Networks[i]
		n, named := l.networks[device.OnBridge()]
		if !named {
			if device.IP.OK || device.Static || device.Rate != 0 {
				return args, fmt.Errorf("cannot give device %s an address or a rate: %s is no named network (network create makes one)", device.Name, device.OnBridge())
			}
			device.Leases = nil
			continue
		}
		taken := func(a netip.Addr) bool {
			return n.taken(a, name) || slices.ContainsFunc(args.Networks[:i], func(o messages.Network) bool {
				return o.OnBridge() == device.OnBridge() && slices.Contains(o.Leases, a)
			})
		}
		address, err := n.choose(*device, device.Address(name), l.lease(name, *device), taken)
		if err != nil {
			return args, err
		}
		device.Leases = []netip.Addr{address}
		if n.Spec.Gateway6.IsValid() {
			device.Leases = append(device.Leases, device.Address(name).Address6(n.Spec.Gateway6))
		}
	}
	return args, nil
}

// lease returns the address that a device has, or the one that it is to replace; zero: none.
func (l *Ledger) lease(name messages.Name, device messages.Network) netip.Addr {
	for _, had := range l.claims[name].now.Networks {
		same := had.OnBridge() == device.OnBridge() && had.Address(name) == device.Address(name)
		if same && len(had.Leases) > 0 {
			return had.Leases[0]
		}
	}
	return netip.Addr{}
}

// taken reports whether an address belongs to another unikernel than this.
func (n *network) taken(a netip.Addr, by messages.Name) bool {
	return slices.ContainsFunc(n.addresses[a], func(other messages.Name) bool { return other != by })
}

// choose returns an address for a device, which may have one.
func (n *network) choose(device messages.Network, mac messages.MAC, has netip.Addr, taken func(netip.Addr) bool) (netip.Addr, error) {
	if asked := device.IP; asked.OK {
		switch {
		case !n.Spec.Contains(asked.Value):
			return netip.Addr{}, fmt.Errorf("cannot use the address %s: no unikernel on network %s can have it (its subnet is %s, and %s its gateway)", asked.Value, n.Name, n.Spec.Subnet(), n.Spec.Gateway.Addr())
		case taken(asked.Value):
			return netip.Addr{}, fmt.Errorf("cannot use the address %s: another unikernel has it on network %s", asked.Value, n.Name)
		}
		return asked.Value, nil
	}
	if n.Spec.Contains(has) && !taken(has) {
		return has, nil
	}
	bits := min(maxSubnet, 32-n.Spec.Gateway.Bits())
	size := uint32(1) << bits
	hash := fnv.New32a()
	_, _ = hash.Write(mac[:])
	start := hash.Sum32()
	for step := range size {
		if a := nth(n.Spec.Subnet(), (start+step)%size); n.Spec.Contains(a) && !taken(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("cannot use network %s: all addresses of its subnet %s are taken", n.Name, n.Spec.Subnet())
}

// nth returns an address of an IPv4 subnet, counted from 0.
func nth(subnet netip.Prefix, i uint32) netip.Addr {
	bytes := subnet.Addr().As4()
	binary.BigEndian.PutUint32(bytes[:], binary.BigEndian.Uint32(bytes[:])+i)
	return netip.AddrFrom4(bytes)
}

// join records the addresses and published ports of a unikernel.
func (l *Ledger) join(name messages.Name, args messages.Arguments) {
	for _, device := range args.Networks {
		if n, named := l.networks[device.OnBridge()]; named {
			n.join(name, device)
		}
	}
	for _, p := range args.Publish {
		at := port{p.UDP, p.From}
		l.ports[at] = append(l.ports[at], publisher{name, p})
	}
}

func (n *network) join(name messages.Name, device messages.Network) {
	for _, a := range device.Leases {
		n.addresses[a] = append(n.addresses[a], name)
	}
}

// part undoes join.
func (l *Ledger) part(name messages.Name, args messages.Arguments) {
	for _, device := range args.Networks {
		n, named := l.networks[device.OnBridge()]
		for _, a := range device.Leases {
			if named {
				removeOne(n.addresses, a, name)
			}
		}
	}
	for _, p := range args.Publish {
		removeOne(l.ports, port{p.UDP, p.From}, publisher{name, p})
	}
}

// removeOne removes one of the values of a key.
func removeOne[K, V comparable](all map[K][]V, key K, value V) {
	list := all[key]
	if i := slices.Index(list, value); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(all, key)
		return
	}
	all[key] = list
}

// Republish changes the published ports of a unikernel that is not being replaced, or returns why
// not.
func (l *Ledger) Republish(name messages.Name, args messages.Arguments) error {
	if c, ok := l.claims[name]; !ok || c.next.OK {
		return fmt.Errorf("internal error: the ports of %s cannot be changed now", name)
	}
	if err := l.checkPorts(name, args); err != nil {
		return err
	}
	l.set(name, claim{now: args})
	return nil
}

// checkNetworks returns why the addresses and published ports of a unikernel are refused.
func (l *Ledger) checkNetworks(name messages.Name, args messages.Arguments) error {
	for _, device := range args.Networks {
		n, named := l.networks[device.OnBridge()]
		if named && n.closed {
			return fmt.Errorf("cannot use network %s: it is being removed", n.Name)
		}
		for _, a := range device.Leases {
			if named && n.taken(a, name) {
				return fmt.Errorf("cannot use the address %s: another unikernel has it on network %s", a, n.Name)
			}
		}
	}
	return l.checkPorts(name, args)
}

// checkPorts returns why the ports of a unikernel cannot be published, or its health not be checked by
// them.
func (l *Ledger) checkPorts(name messages.Name, args messages.Arguments) error {
	if err := l.checkPublications(name, args); err != nil {
		return err
	}
	return l.checkHealth(args)
}

// checkHealth returns why the host could not ask a unikernel about its health: it does not reach the
// addresses of a network in user mode.
func (l *Ledger) checkHealth(args messages.Arguments) error {
	h := args.Health.Value
	if !args.Health.OK || h.Kind == messages.HealthRuns {
		return nil
	}
	_, leased, err := h.Address(args)
	if err != nil || !leased {
		return err
	}
	if n, named := l.networks[args.Networks[0].OnBridge()]; named && n.Spec.Backend == messages.UserNetwork {
		return h.Unreachable()
	}
	return nil
}

func (l *Ledger) checkPublications(name messages.Name, args messages.Arguments) error {
	switch {
	case len(args.Publish) == 0:
		return nil
	case len(args.Publish) > MaxPublications:
		return fmt.Errorf("cannot publish %d ports: at most %d are possible", len(args.Publish), MaxPublications)
	case len(args.Networks) == 0:
		return errors.New("cannot publish a port: the unikernel has no network device")
	}
	if _, named := l.networks[args.Networks[0].OnBridge()]; !named {
		return fmt.Errorf("cannot publish a port: %s is no named network (network create makes one)", args.Networks[0].OnBridge())
	}
	for i, p := range args.Publish {
		if slices.ContainsFunc(args.Publish[:i], p.Overlaps) {
			return fmt.Errorf("cannot publish port %s twice", p)
		}
		for _, other := range l.ports[port{p.UDP, p.From}] {
			if other.name != name && p.Overlaps(other.publication) {
				return fmt.Errorf("cannot publish port %s: it leads to another unikernel", p)
			}
		}
	}
	return nil
}

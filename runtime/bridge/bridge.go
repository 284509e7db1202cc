// Package bridge makes named networks out of what the kernel has: a bridge with the
// address of the gateway, and tables of nftables with the network's name, albatross-NAME.
// It needs root, and Linux 5.7.
//
// The package owns every bridge whose group is between 0x616c0001 and 0x616cffff, and every
// table whose name begins with "albatross". It touches no others, except that it switches
// forwarding on for interfaces of the host: see forwarding.go.
//
// What holds on a network that is up:
//
//   - A tap on the bridge sends only frames of a station that has been allowed: with its MAC
//     address, and its addresses in IP, ARP and neighbour discovery. It never answers as a
//     router or a DHCP server. This needs the tap to have the bridge's group, as package
//     netif makes it. See frames.go.
//   - Stations and the host reach each other; the host's loopback addresses stay its own.
//     From elsewhere only answers and what is published arrive, or, without NAT, whatever is
//     routed here. Two networks of ours reach each other only where one publishes something.
//     A station has at most a quarter of the connections that the host can have. See packets.go.
//   - A station and a published port are elements of sets: to add or remove one costs the
//     same, however many there are.
//
// What does not:
//
//   - The firewall of the host may still forbid what is allowed here: with nftables one table
//     cannot overrule another. Docker, for example, drops what is forwarded between
//     interfaces that it does not know.
//   - An interface of the host that appears after Up forwards for networks after the next Up.
//   - Published ports do not answer at ::1, which the kernel never routes. Where it filters
//     what stays on a bridge (net.bridge.bridge-nf-call-iptables), a station does not reach
//     itself by a port of its own.
package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"albatross/messages"
	"albatross/runtime/failpoint"
)

// A Network is what Up makes.
type Network struct {
	Name     string       // of the bridge
	Gateway  netip.Prefix // the host's IPv4 address, and the length of the subnet
	Gateway6 netip.Prefix // the same for IPv6; zero: none
	MTU      int          // bytes
	NAT      bool         // the outside sees the host's address
}

// A Station is a network device of a unikernel.
type Station struct {
	Tap       string
	MAC       messages.MAC
	Addresses []netip.Addr
	Rate      int64 // bytes per second that it may send; 0: any number
}

// A Forward is a port of the host that leads to a port of a station. A publication at any
// address of the host is one at any address of the target's family.
type Forward struct {
	messages.Publication
	Target netip.Addr
}

// A Backend makes and removes networks. Its methods are for any goroutine, but those for one
// network are called one at a time.
type Backend struct {
	directory string
	mu        sync.Mutex // held while bridges are numbered and forwarding is switched
	wire      wire
}

// New returns a backend that notes in a directory what it has changed for interfaces that
// are not its own. The directory has one backend at a time.
func New(directory string) *Backend { return &Backend{directory: directory} }

// Close ends the use of a backend. The networks stay.
func (b *Backend) Close() error { return b.wire.close() }

// Up makes a network, or repairs what is there of it, so that it has exactly these stations
// and forwards. Connections through it go on.
func (b *Backend) Up(n Network, stations []Station, forwards []Forward) error {
	if err := b.up(n, stations, forwards); err != nil {
		return fmt.Errorf("cannot make network %s: %w", n.Name, err)
	}
	return nil
}

// up writes the tables before anything can pass the bridge.
func (b *Backend) up(n Network, stations []Station, forwards []Forward) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	link, err := makeBridge(n)
	if err != nil {
		return err
	}
	failpoint.Here("bridge/made")
	if err := configure(n); err != nil {
		return err
	}
	failpoint.Here("bridge/configured")
	if err := writeTables(n, link.Attrs().Group, stations, forwards); err != nil {
		return err
	}
	failpoint.Here("bridge/filtered")
	if err := b.wire.setRates(n.Name, stations); err != nil {
		return err
	}
	failpoint.Here("bridge/limited")
	if err := dress(link, n); err != nil {
		return err
	}
	failpoint.Here("bridge/addressed")
	return b.forward(n)
}

// Down removes all of a network. It is fine if some or all of it is gone.
func (b *Backend) Down(network string) error {
	if err := b.down(network); err != nil {
		return fmt.Errorf("cannot remove network %s: %w", network, err)
	}
	return nil
}

// down removes the tables once nothing can pass the bridge.
func (b *Backend) down(network string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := removeBridge(network); err != nil {
		return err
	}
	failpoint.Here("bridge/removed")
	if err := removeTables(network); err != nil {
		return err
	}
	failpoint.Here("bridge/unfiltered")
	return b.stopForwarding()
}

// Allow lets a station send. If it could before, its rate may be another one now.
func (b *Backend) Allow(network string, s Station) error {
	err := b.wire.allow(network, s)
	if err == nil {
		err = introduce(network, s)
	}
	if err != nil {
		return fmt.Errorf("cannot let interface %s send on network %s: %w", s.Tap, network, err)
	}
	return nil
}

// Disallow takes back an Allow of the same station. It is fine if there was none.
func (b *Backend) Disallow(network string, s Station) error {
	if err := b.wire.disallow(network, s); err != nil && !errors.Is(err, errNoTable) {
		return fmt.Errorf("cannot keep interface %s from sending on network %s: %w", s.Tap, network, err)
	}
	return nil
}

// Publish makes a port of the host lead to a station, instead of where it may lead now.
func (b *Backend) Publish(network string, f Forward) error {
	if err := b.wire.publish(network, f); err != nil {
		return fmt.Errorf("cannot publish %s: %w", f.Publication, err)
	}
	return nil
}

// Unpublish takes back a Publish. It is fine if there was none. EndConnections ends the connections that
// exist.
func (b *Backend) Unpublish(network string, f Forward) error {
	if err := b.wire.unpublish(network, f); err != nil && !errors.Is(err, errNoTable) {
		return fmt.Errorf("cannot stop publishing %s: %w", f.Publication, err)
	}
	return nil
}

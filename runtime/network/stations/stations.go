// Package stations is the table of the stations of a network, which DHCP, DNS and the switch
// read while the daemon changes it.
package stations

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"albatross/messages"
	"albatross/runtime/network/wire"
)

// Max bounds the stations of a network. A network of the kernel has no more ports, and one in
// user mode a descriptor for each.
const Max = 4096

// A Table holds the stations of a network. Its methods may be called concurrently.
type Table struct {
	mu        sync.RWMutex
	byMAC     map[messages.MAC]wire.Station
	byAddress map[netip.Addr]messages.MAC
	byName    map[string][]messages.MAC
}

// New returns an empty table.
func New() *Table {
	return &Table{
		byMAC:     map[messages.MAC]wire.Station{},
		byAddress: map[netip.Addr]messages.MAC{},
		byName:    map[string][]messages.MAC{},
	}
}

// Put adds a station, in place of one with the same MAC address. It refuses an address that
// another station has.
func (t *Table) Put(s wire.Station) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range s.Addresses {
		if owner, taken := t.byAddress[a]; taken && owner != s.MAC {
			return fmt.Errorf("the address %s is that of %s", a, owner)
		}
	}
	if _, known := t.byMAC[s.MAC]; !known && len(t.byMAC) >= Max {
		return fmt.Errorf("the network has %d stations already", Max)
	}
	t.remove(s.MAC)
	s.Addresses = slices.Clone(s.Addresses)
	t.byMAC[s.MAC] = s
	for _, a := range s.Addresses {
		t.byAddress[a] = s.MAC
	}
	if name := HostName(s); name != "" {
		t.byName[name] = append(t.byName[name], s.MAC)
	}
	return nil
}

// Remove removes a station, if it is there.
func (t *Table) Remove(mac messages.MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(mac)
}

func (t *Table) remove(mac messages.MAC) {
	s, known := t.byMAC[mac]
	if !known {
		return
	}
	delete(t.byMAC, mac)
	for _, a := range s.Addresses {
		delete(t.byAddress, a)
	}
	name := HostName(s)
	// A reader may have the old list.
	t.byName[name] = slices.DeleteFunc(slices.Clone(t.byName[name]), func(m messages.MAC) bool { return m == mac })
	if len(t.byName[name]) == 0 {
		delete(t.byName, name)
	}
}

// Get returns a station.
func (t *Table) Get(mac messages.MAC) (s wire.Station, found bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, found = t.byMAC[mac]
	return s, found
}

// At returns the station with an address.
func (t *Table) At(a netip.Addr) (s wire.Station, found bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	mac, found := t.byAddress[a]
	return t.byMAC[mac], found
}

// Named returns the addresses of a name: all those of a unikernel on the network.
func (t *Table) Named(name string) (list []netip.Addr, found bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, mac := range t.byName[name] {
		list = append(list, t.byMAC[mac].Addresses...)
	}
	return list, len(t.byName[name]) > 0
}

// After returns stations in their order, at most limit of them, that come after one.
func (t *Table) After(after messages.MAC, limit int) (list []wire.Station, more bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for mac, s := range t.byMAC {
		if wire.Compare(mac, after) > 0 {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b wire.Station) int { return wire.Compare(a.MAC, b.MAC) })
	if len(list) > limit {
		return list[:limit], true
	}
	return list, false
}

// HostName returns the name of a station in DNS, below the domain of the network: the labels of
// its unikernel, joined by dots.
func HostName(s wire.Station) string {
	name := strings.TrimPrefix(s.Name, ":")
	return strings.ToLower(strings.ReplaceAll(name, ":", "."))
}

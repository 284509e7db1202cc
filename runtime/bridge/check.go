package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/netif"
)

// Bounds of an MTU: what each version of IP requires, and what a tap can have.
const (
	minMTU  = 576
	minMTU6 = 1280
	maxMTU  = 65521
)

// Check refuses a network that cannot be made on this host. It is fine if the network exists.
// The errors are for clients.
func (b *Backend) Check(n Network) error {
	if err := check(n); err != nil {
		return fmt.Errorf("cannot make network %s: %w", n.Name, err)
	}
	return nil
}

func check(n Network) error {
	if err := messages.CheckInterface(n.Name); err != nil {
		return err
	}
	if err := checkMTU(n); err != nil {
		return err
	}
	for _, gateway := range gateways(n) {
		if err := checkGateway(gateway); err != nil {
			return err
		}
	}
	if !n.Gateway.Addr().Is4() || n.Gateway6.IsValid() && !n.Gateway6.Addr().Is6() {
		return errors.New("one gateway is IPv4, and the other, if there is one, IPv6")
	}
	if err := checkName(n.Name); err != nil {
		return err
	}
	used, err := usedExcept(n.Name)
	if err != nil {
		return err
	}
	for _, gateway := range gateways(n) {
		if by, taken := used.overlap(gateway); taken {
			return fmt.Errorf("its subnet %s overlaps %s: choose another with --subnet", gateway.Masked(), by)
		}
	}
	return nil
}

func checkMTU(n Network) error {
	least := minMTU
	if n.Gateway6.IsValid() {
		least = minMTU6
	}
	if n.MTU < least || n.MTU > maxMTU {
		return fmt.Errorf("its MTU is %d: choose one from %d to %d with --mtu", n.MTU, least, maxMTU)
	}
	return nil
}

// The shortest prefixes that a subnet can have, and a route of the host that is refused. A
// shorter one leads to the rest of the world.
const (
	shortest  = 8
	shortest6 = 16
)

func checkGateway(gateway netip.Prefix) error {
	if !gateway.IsValid() {
		return errors.New("it has no gateway: choose a subnet with --subnet")
	}
	addr, subnet := gateway.Addr(), gateway.Masked()
	least := shortest
	if addr.Is6() {
		least = shortest6
	}
	switch {
	case gateway.Bits() > addr.BitLen()-2:
		return fmt.Errorf("its subnet %s is too small for a gateway and a unikernel: choose another with --subnet", subnet)
	case gateway.Bits() < least:
		return fmt.Errorf("its subnet %s is too large: choose another with --subnet", subnet)
	case addr == subnet.Addr() || addr.Is4() && addr == messages.Broadcast(subnet):
		return fmt.Errorf("its gateway %s stands for all of its subnet %s: choose another with --gateway", addr, subnet)
	case !addr.IsGlobalUnicast() || addr.Is4In6():
		return fmt.Errorf("its subnet %s is not for hosts: choose another with --subnet", subnet)
	}
	return nil
}

// A use is a subnet that the host uses.
type use struct {
	subnet netip.Prefix
	link   string // empty: unknown
}

func (u use) String() string {
	if u.link == "" {
		return fmt.Sprintf("%s, to which the host has a route", u.subnet)
	}
	return fmt.Sprintf("%s of interface %s", u.subnet, u.link)
}

type uses []use

// overlap returns a use of some of these addresses.
func (list uses) overlap(p netip.Prefix) (use, bool) {
	for _, u := range list {
		if u.subnet.Overlaps(p) {
			return u, true
		}
	}
	return use{}, false
}

// usedExcept returns the subnets of all interfaces except a network of ours, and those to
// which routes lead.
func usedExcept(network string) (uses, error) {
	own := 0
	link, err := find(network)
	if err == nil {
		own = link.Attrs().Index
	} else if !errors.Is(err, netif.ErrNoLink) {
		return nil, fmt.Errorf("cannot look up interface %s: %w", network, err)
	}
	addresses, err := addressList()
	if err != nil {
		return nil, err
	}
	routes, err := routeList()
	if err != nil {
		return nil, err
	}
	var list uses
	for _, a := range addresses {
		if a.LinkIndex != own {
			list = append(list, use{prefixOf(a.IPNet).Masked(), linkName(a.LinkIndex)})
		}
	}
	for _, r := range routes {
		if subnet := prefixOf(r.Dst).Masked(); r.LinkIndex != own && leadsSomewhere(r, subnet) {
			list = append(list, use{subnet, linkName(r.LinkIndex)})
		}
	}
	return list, nil
}

// leadsSomewhere excludes the routes that do not keep a subnet from being used.
func leadsSomewhere(r netlink.Route, subnet netip.Prefix) bool {
	if r.Table == unix.RT_TABLE_LOCAL || r.Type != unix.RTN_UNICAST || !subnet.IsValid() {
		return false
	}
	if subnet.Addr().Is6() {
		return subnet.Bits() >= shortest6 && !subnet.Addr().IsLinkLocalUnicast()
	}
	return subnet.Bits() >= shortest
}

func addressList() (list []netlink.Addr, err error) {
	err = netif.Uninterrupted(func() error {
		list, err = netlink.AddrList(nil, netlink.FAMILY_ALL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses of the host: %w", err)
	}
	return list, nil
}

// routeList returns the routes of all tables.
func routeList() (list []netlink.Route, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		var part []netlink.Route
		err = netif.Uninterrupted(func() error {
			part, err = netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
			return err
		})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("cannot list the routes of the host: %w", err)
		}
		list = append(list, part...)
	}
	return list, nil
}

// linkName returns the name of an interface, or nothing if it is gone by now.
func linkName(index int) string {
	link, err := net.InterfaceByIndex(index)
	if err != nil {
		return ""
	}
	return link.Name
}

// FreeSubnet returns a private subnet of 254 addresses that neither the host uses nor one of
// the given networks.
func (b *Backend) FreeSubnet(taken ...netip.Prefix) (netip.Prefix, error) {
	used, err := usedExcept("")
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("cannot choose a subnet: %w", err)
	}
	for _, p := range taken {
		used = append(used, use{subnet: p.Masked()})
	}
	for second := 89; second <= 255; second++ {
		for third := range 256 {
			subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), byte(third), 0}), 24)
			if _, overlaps := used.overlap(subnet); !overlaps {
				return subnet, nil
			}
		}
	}
	return netip.Prefix{}, errors.New("cannot choose a subnet: all that could be chosen are in use (choose one with --subnet)")
}

// Possible returns why no network can be made on this host. It makes nothing.
func Possible() error {
	if err := possible(); err != nil {
		return fmt.Errorf("cannot make networks of the kernel: %w", err)
	}
	return nil
}

func possible() error {
	err := unix.Access(settings+"/net/ipv4/conf/all/forwarding", unix.W_OK)
	if errors.Is(err, fs.ErrPermission) {
		return errors.New("root is needed")
	}
	if err != nil {
		return fmt.Errorf("the settings of the kernel cannot be changed: %w", err)
	}
	return tryTables()
}

// tryTables writes all rules and takes them back in the same step, so that nobody ever sees
// them. The interface is one that cannot exist.
func tryTables() error {
	some := Network{Name: "a/b", Gateway: netip.MustParsePrefix("10.0.0.1/24"),
		Gateway6: netip.MustParsePrefix("fd00::1/64"), NAT: true}
	return transact(func(c *nftables.Conn) error {
		if err := queueTables(c, some, maxGroup, nil, nil); err != nil {
			return err
		}
		c.DelTable(framesOf(some.Name))
		c.DelTable(packetsOf(some.Name))
		return nil
	})
}

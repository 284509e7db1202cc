package bridge

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"albatross/runtime/failpoint"
	"albatross/runtime/netif"
)

// The groups of interfaces that are ours. Each network has one of its own, for its bridge and
// for the taps on it. A bridge has its group from the moment at which it exists, so it can be
// recognised whenever this process is killed.
const (
	ourGroups = 0x616c0000
	groupMask = 0xffff0000
	maxGroup  = ourGroups | 0xffff
)

// isOurs reports whether a network of ours has this interface.
func isOurs(link netlink.Link) bool {
	return link.Type() == "bridge" && link.Attrs().Group&groupMask == ourGroups && link.Attrs().Group != ourGroups
}

// find returns the bridge of a network, or netif.ErrNoLink if an interface that is not ours
// has the name, or none.
func find(network string) (netlink.Link, error) {
	link, err := netif.Find(network)
	if err == nil && !isOurs(link) {
		return nil, netif.ErrNoLink
	}
	return link, err
}

// checkName refuses a name that another interface has.
func checkName(name string) error {
	link, err := netif.Find(name)
	switch {
	case errors.Is(err, netif.ErrNoLink):
		return nil
	case err != nil:
		return fmt.Errorf("cannot look up interface %s: %w", name, err)
	case !isOurs(link):
		return fmt.Errorf("the host has an interface %s already: choose another name", name)
	}
	return nil
}

// makeBridge returns the bridge of a network, which is down if it did not exist.
func makeBridge(n Network) (netlink.Link, error) {
	if err := checkName(n.Name); err != nil {
		return nil, err
	}
	link, err := find(n.Name)
	if err == nil {
		return link, nil
	}
	if !errors.Is(err, netif.ErrNoLink) {
		return nil, err
	}
	bridge, err := newBridge(n.Name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("cannot make a bridge: %w", err)
	}
	return find(n.Name)
}

// newBridge returns a bridge to make. It never listens to who wants which multicast: a
// station could claim to be the querier, and keep others from hearing their neighbours.
func newBridge(name string) (*netlink.Bridge, error) {
	group, err := freeGroup()
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Group = name, group
	snooping := false
	return &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}, nil
}

// hostAddress returns the MAC address of a bridge. It stays the same when the bridge is made
// again, and a port never changes an address that was set.
func hostAddress(name string) net.HardwareAddr {
	hash := sha256.Sum256([]byte("albatross network " + name))
	hash[0] = hash[0]&^1 | 2 // an address of one station, assigned locally
	return hash[:6]
}

// freeGroup returns the lowest group that no bridge has.
func freeGroup() (uint32, error) {
	bridges, err := ours()
	if err != nil {
		return 0, err
	}
	taken := map[uint32]bool{}
	for _, link := range bridges {
		taken[link.Attrs().Group] = true
	}
	for group := uint32(ourGroups + 1); group <= maxGroup; group++ {
		if !taken[group] {
			return group, nil
		}
	}
	return 0, errors.New("there are too many networks")
}

// ours returns the bridges of all networks.
func ours() (bridges []netlink.Link, err error) {
	var answers [][]byte
	err = netif.Uninterrupted(func() error {
		// netlink.LinkList cannot ask for bridges only.
		request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
		request.AddData(info)
		answers, err = request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list bridges: %w", err)
	}
	for _, answer := range answers {
		link, err := netlink.LinkDeserialize(nil, answer)
		if err != nil {
			return nil, fmt.Errorf("cannot list bridges: %w", err)
		}
		if isOurs(link) {
			bridges = append(bridges, link)
		}
	}
	return bridges, nil
}

// alias is for people who read a list of interfaces.
const alias = "albatross network"

// dress gives a bridge its names, its addresses and its MTU, and sets it up.
func dress(link netlink.Link, n Network) error {
	attrs := link.Attrs()
	if attrs.Alias != alias {
		if err := netlink.LinkSetAlias(link, alias); err != nil {
			return fmt.Errorf("cannot set the alias of the bridge: %w", err)
		}
	}
	if want := hostAddress(n.Name); !bytes.Equal(attrs.HardwareAddr, want) {
		if err := netlink.LinkSetHardwareAddr(link, want); err != nil {
			return fmt.Errorf("cannot set the MAC address of the bridge: %w", err)
		}
	}
	// An MTU that was set does not change when ports come and go.
	if attrs.MTU != n.MTU {
		if err := netlink.LinkSetMTU(link, n.MTU); err != nil {
			return fmt.Errorf("cannot set the MTU of the bridge to %d: %w", n.MTU, err)
		}
	}
	failpoint.Here("bridge/named")
	if err := assign(link, n); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot set the bridge up: %w", err)
	}
	return nil
}

// assign gives a bridge the addresses of the gateway, and no others.
func assign(link netlink.Link, n Network) error {
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("cannot list the addresses of the bridge: %w", err)
	}
	for _, a := range list {
		has := prefixOf(a.IPNet)
		if has == n.Gateway || has == n.Gateway6 || has.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("cannot remove address %s of the bridge: %w", has, err)
		}
	}
	for _, want := range gateways(n) {
		// Nobody else can have the address, so it need not be tried out, which would
		// take until the first station comes.
		a := &netlink.Addr{IPNet: ipNet(want), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrReplace(link, a); err != nil {
			return fmt.Errorf("cannot give the bridge the address %s: %w", want, err)
		}
	}
	return nil
}

// gateways returns the addresses of the host on a network.
func gateways(n Network) []netip.Prefix {
	if n.Gateway6.IsValid() {
		return []netip.Prefix{n.Gateway, n.Gateway6}
	}
	return []netip.Prefix{n.Gateway}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is zero for nil, which stands for all addresses.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

// removeBridge removes the bridge of a network if it exists.
func removeBridge(network string) error {
	link, err := find(network)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, netif.ErrNoLink) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove the bridge: %w", err)
	}
	return nil
}

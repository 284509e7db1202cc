package bridge

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// EndConnections ends those by way of a port that is not published any more: the kernel forgets where
// they lead, and what still comes on them is answered by the host, where nobody listens.
func (b *Backend) EndConnections(f Forward) error {
	family := netlink.InetFamily(unix.AF_INET)
	if f.Target.Is6() {
		family = unix.AF_INET6
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, byPort(f)); err != nil && !errors.Is(err, unix.ENOENT) { // one that has ended meanwhile
		return fmt.Errorf("cannot end the connections by port %s: %w", f.Publication, err)
	}
	return nil
}

// byPort matches the connections by way of a published port.
type byPort Forward

// MatchConntrackFlow reports whether a connection leads to the target: its answers come from there.
func (f byPort) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	protocol := uint8(unix.IPPROTO_TCP)
	if f.UDP {
		protocol = unix.IPPROTO_UDP
	}
	return flow.Forward.Protocol == protocol && flow.Forward.DstPort == f.From && flow.Reverse.SrcPort == f.To &&
		flow.Reverse.SrcIP.Equal(f.Target.AsSlice())
}

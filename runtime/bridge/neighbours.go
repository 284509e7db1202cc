package bridge

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/runtime/netif"
)

// introduce makes the kernel send to the station what is for its addresses. Another station may have had
// one of them a moment ago: the kernel would send to that for up to a minute, since only the station
// itself could tell it of the change. What is said here is checked by the kernel when it is used.
func introduce(network string, s Station) error {
	link, err := find(network)
	if errors.Is(err, netif.ErrNoLink) { // then the kernel knows no neighbours there
		return nil
	}
	if err != nil {
		return err
	}
	for _, a := range s.Addresses {
		err := netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, State: unix.NUD_STALE, IP: a.AsSlice(), HardwareAddr: net.HardwareAddr(s.MAC[:]),
		})
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("cannot tell the kernel that %s is there: %w", a, err)
		}
	}
	return nil
}

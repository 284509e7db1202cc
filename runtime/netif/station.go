package netif

import (
	"bytes"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// CheckFree refuses an address that is in use on a bridge, as far as the bridge knows.
// Clients read its errors as they are.
func CheckFree(s messages.Station) error {
	bridge, err := findBridge(s.Bridge)
	if err != nil {
		return err
	}
	if s.MAC == messages.MAC(hostAddress) {
		return ownAddress(s)
	}
	table, err := forwarding(bridge.Index)
	if err != nil {
		return fmt.Errorf("cannot ask bridge %s who is on it: %w", s.Bridge, err)
	}
	for _, entry := range table {
		if entry.MasterIndex == bridge.Index && bytes.Equal(entry.HardwareAddr, s.MAC[:]) {
			return taken(s, entry)
		}
	}
	return nil
}

func taken(s messages.Station, entry netlink.Neigh) error {
	if entry.State&unix.NUD_PERMANENT != 0 {
		return ownAddress(s)
	}
	return fmt.Errorf("cannot use the MAC address %s: something else has it on bridge %s (give another one with --net NAME:BRIDGE@MAC; one that has gone is forgotten within minutes)", s.MAC, s.Bridge)
}

func ownAddress(s messages.Station) error {
	return fmt.Errorf("cannot use the MAC address %s: the host has it on bridge %s (give another one with --net NAME:BRIDGE@MAC)", s.MAC, s.Bridge)
}

// forwarding returns the forwarding table of a bridge: which address is behind which
// port. It may contain entries of other bridges.
func forwarding(bridge int) (table []netlink.Neigh, err error) {
	var entries [][]byte
	err = Uninterrupted(func() error {
		// netlink.NeighList cannot ask for one bridge.
		request := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		request.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
		entries, err = request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		entry, err := netlink.NeighDeserialize(e)
		if err != nil {
			return nil, err
		}
		table = append(table, *entry)
	}
	return table, nil
}

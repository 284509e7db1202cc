package sample

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// counters are those of the wanted interfaces, by name.
type counters map[string]counted

type counted struct {
	index int
	data  messages.IfData
}

// of returns the counters of taps, as far as they exist.
func (c counters) of(ports []messages.Port) (list []messages.IfData) {
	for _, p := range ports {
		found, ok := c[p.Link.Name]
		if !ok || p.Link.Index != 0 && p.Link.Index != found.index {
			continue
		}
		found.data.Device = p.Device
		list = append(list, found.data)
	}
	return list
}

// readCounters asks the kernel for all interfaces at once, which costs less than a
// question for each wanted one.
func readCounters(targets []messages.Target) (counters, error) {
	wanted := counters{}
	for _, t := range targets {
		for _, p := range t.Ports {
			wanted[p.Link.Name] = counted{}
		}
	}
	found := counters{}
	if len(wanted) == 0 {
		return found, nil
	}
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	err := request.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(message []byte) bool {
		found.add(message, wanted)
		return true
	})
	if err != nil {
		return found, fmt.Errorf("cannot read the counters of all taps: %w", err)
	}
	return found, nil
}

// add keeps a wanted interface.
func (c counters) add(message []byte, wanted counters) {
	if len(message) < unix.SizeofIfInfomsg {
		return
	}
	var name, mtu, stats []byte
	for attributes := message[unix.SizeofIfInfomsg:]; ; {
		kind, value, rest, ok := nextAttribute(attributes)
		if !ok {
			break
		}
		switch kind {
		case unix.IFLA_IFNAME:
			name = value
		case unix.IFLA_MTU:
			mtu = value
		case unix.IFLA_STATS64:
			stats = value
		}
		attributes = rest
	}
	if len(name) == 0 || len(mtu) < 4 || len(stats) < 8*fields64 {
		return
	}
	name = name[:len(name)-1] // without the terminating zero
	if _, ok := wanted[string(name)]; !ok {
		return
	}
	header := nl.DeserializeIfInfomsg(message)
	c[string(name)] = counted{index: int(header.Index), data: ifData(header.Flags, mtu, stats)}
}

// nextAttribute takes the first attribute off a netlink message: a length, a kind, and a
// value, which is padded to 4 bytes.
func nextAttribute(b []byte) (kind uint16, value, rest []byte, ok bool) {
	if len(b) < unix.SizeofRtAttr {
		return 0, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofRtAttr || n > len(b) {
		return 0, nil, nil, false
	}
	padded := min((n+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b))
	return binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:n], b[padded:], true
}

// fields64 is the number of used fields of struct rtnl_link_stats64.
const fields64 = 10

// ifData converts the counters as native does: what the host receives is the input,
// though the unikernel sends it.
func ifData(flags uint32, mtu, stats []byte) messages.IfData {
	field := func(i int) int64 { return int64(binary.NativeEndian.Uint64(stats[8*i:])) }
	return messages.IfData{
		Flags:         flags,
		MTU:           binary.NativeEndian.Uint32(mtu),
		InputPackets:  field(0),
		OutputPackets: field(1),
		InputBytes:    field(2),
		OutputBytes:   field(3),
		InputErrors:   field(4),
		OutputErrors:  field(5),
		InputDropped:  field(6),
		OutputDropped: field(7),
		InputMcast:    field(8),
		Collisions:    field(9),
	}
}

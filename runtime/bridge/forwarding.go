package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/runtime/durable"
	"albatross/runtime/failpoint"
	"albatross/runtime/netif"
	"albatross/runtime/proc"
)

// The kernel forwards an IPv4 packet if forwarding is on for the interface where it arrives:
// for the bridge, so that stations reach the outside, and for the interface outside, so that
// answers and what is published reach the stations. So the switch for all interfaces,
// net.ipv4.ip_forward, stays as it is. For IPv6 there is such a switch for one interface since
// Linux 6.17 (force_forwarding); before, only the one for all interfaces does anything, and
// then those that accept router advertisements have to be told to go on.
//
// An interface that was switched on for our networks forwards nothing else: a table of its own
// drops what is new, arrives there, and does not leave for a network of ours. Where the host
// forwards already, nothing is switched and nothing dropped.
//
// What is switched is written to a file before. When the last network has gone, it is switched
// back, and after a reboot the file is void.

// A switched is a setting of the kernel that was changed.
type switched struct {
	path     string // below /proc/sys
	was, now string
}

const settings = "/proc/sys"

func read(path string) (string, error) {
	value, err := os.ReadFile(filepath.Join(settings, path))
	return strings.TrimSpace(string(value)), err
}

// cause returns what the kernel says in an error, without the paths of this host.
func cause(err error) error {
	var code unix.Errno
	if errors.As(err, &code) {
		return code
	}
	return err
}

// set writes a setting, unless it has the value already.
func set(path, value string) error {
	is, err := read(path)
	if err == nil && is != value {
		err = os.WriteFile(filepath.Join(settings, path), []byte(value), 0)
	}
	if err != nil {
		return fmt.Errorf("cannot set %s to %s: %w", path, value, cause(err))
	}
	return nil
}

// configure sets what concerns the bridge alone, before it is up. Without an IPv6 address it
// has no IPv6 at all: otherwise stations could reach the host by it.
func configure(n Network) error {
	four, six := "net/ipv4/conf/"+n.Name+"/", "net/ipv6/conf/"+n.Name+"/"
	list := []switched{{path: four + "accept_redirects", now: "0"}, {path: four + "forwarding", now: "1"}}
	if n.Gateway6.IsValid() {
		list = append(list, switched{path: six + "disable_ipv6", now: "0"}, switched{path: six + "accept_ra", now: "0"},
			switched{path: six + "accept_redirects", now: "0"}, switched{path: six + "accept_dad", now: "0"},
			switched{path: six + "forwarding", now: "1"})
	} else if _, err := read(six + "disable_ipv6"); !errors.Is(err, fs.ErrNotExist) {
		list = append(list, switched{path: six + "disable_ipv6", now: "1"})
	}
	for _, s := range list {
		if err := set(s.path, s.now); err != nil {
			return err
		}
	}
	return nil
}

// forward switches on what a network needs, once its tables are there.
func (b *Backend) forward(n Network) error {
	// Stations answer connections from loopback addresses.
	if err := set("net/ipv4/conf/"+n.Name+"/route_localnet", "1"); err != nil {
		return err
	}
	record, err := b.readRecord()
	if err != nil {
		return err
	}
	outside, err := others()
	if err != nil {
		return err
	}
	wanted, err := needed4(outside, record)
	if err != nil {
		return err
	}
	if n.Gateway6.IsValid() || slices.ContainsFunc(record, isIP6) {
		six, err := needed6(outside, record)
		if err != nil {
			return err
		}
		wanted = append(wanted, six...)
	}
	if n.Gateway6.IsValid() && perInterface6() {
		if err := set("net/ipv6/conf/"+n.Name+"/"+force, "1"); err != nil {
			return err
		}
	}
	return b.switchOn(record, wanted)
}

// others returns the names of the interfaces through which the outside may be reached, now or
// once they have an address.
func others() (names []string, err error) {
	var links []netlink.Link
	err = netif.Uninterrupted(func() error {
		links, err = netlink.LinkList()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	for _, link := range links {
		attrs := link.Attrs()
		if attrs.RawFlags&unix.IFF_LOOPBACK == 0 && attrs.MasterIndex == 0 && !isOurs(link) {
			names = append(names, attrs.Name)
		}
	}
	return names, nil
}

const force = "force_forwarding"

// perInterface6 reports whether the kernel can forward IPv6 from one interface only.
var perInterface6 = func() bool {
	_, err := read("net/ipv6/conf/all/" + force)
	return err == nil
}

func isIP6(s switched) bool { return strings.HasPrefix(s.path, "net/ipv6/") }

// needed4 returns what has to be on for IPv4, of which some may be on already. If the switch
// for all interfaces is on, that is somebody else's, and so is everything that it has switched.
func needed4(outside []string, record []switched) ([]switched, error) {
	all, err := read("net/ipv4/conf/all/forwarding")
	if err != nil {
		return nil, fmt.Errorf("cannot find out whether the host forwards: %w", cause(err))
	}
	if all == "1" {
		return nil, nil
	}
	return needed(outside, record, "net/ipv4/conf/", "forwarding", "0", "1")
}

func needed6(outside []string, record []switched) ([]switched, error) {
	const all = "net/ipv6/conf/all/forwarding"
	on, err := read(all)
	if err != nil {
		return nil, fmt.Errorf("cannot find out whether the host forwards IPv6: %w", cause(err))
	}
	mine := slices.ContainsFunc(record, func(s switched) bool { return s.path == all })
	switch {
	case on == "1" && !mine:
		return nil, nil
	case perInterface6():
		return needed(outside, record, "net/ipv6/conf/", force, "0", "1")
	}
	list, err := needed(outside, record, "net/ipv6/conf/", "accept_ra", "1", "2")
	return append(list, switched{all, "0", "1"}), err
}

// needed returns the settings of interfaces that have been switched, as far as they still
// exist, and those to switch.
func needed(outside []string, record []switched, directory, setting, was, now string) (list []switched, err error) {
	known := len(record)
	for _, name := range outside {
		s := switched{directory + name + "/" + setting, was, now}
		if !slices.Contains(record, s) {
			record = append(record[:len(record):len(record)], s)
		}
	}
	for i, s := range record {
		if !strings.HasPrefix(s.path, directory) || filepath.Base(s.path) != setting {
			continue
		}
		is, err := read(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // without IPv6, or gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read a setting of an interface: %w", cause(err))
		}
		if i < known || is == was {
			list = append(list, s)
		}
	}
	return list, nil
}

// switchOn changes settings in an order in which the record has them first, and the table that
// confines what they allow.
func (b *Backend) switchOn(record, wanted []switched) error {
	if !slices.Equal(record, wanted) {
		if err := b.writeRecord(wanted); err != nil {
			return err
		}
		failpoint.Here("bridge/forwarding-recorded")
	}
	if err := confineOthers(wanted); err != nil {
		return err
	}
	failpoint.Here("bridge/forwarding-confined")
	for _, s := range wanted {
		if err := set(s.path, s.now); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		failpoint.Here("bridge/forwarding-on")
	}
	return nil
}

// stopForwarding switches everything back if there is no network any more.
func (b *Backend) stopForwarding() error {
	bridges, err := ours()
	if err != nil || len(bridges) > 0 {
		return err
	}
	record, err := b.readRecord()
	if err != nil {
		return err
	}
	for _, s := range slices.Backward(record) {
		is, err := read(s.path)
		if err == nil && is == s.now { // otherwise somebody else has changed it, or it is gone
			err = set(s.path, s.was)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		failpoint.Here("bridge/forwarding-off")
	}
	if err := removeGuard(); err != nil {
		return err
	}
	failpoint.Here("bridge/forwarding-free")
	return b.removeRecord()
}

// guard is the table that confines interfaces.
func guard() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: "albatross"}
}

func removeGuard() error {
	return transact(func(c *nftables.Conn) error {
		c.AddTable(guard())
		c.DelTable(guard())
		return nil
	})
}

// confineOthers makes the interfaces that are switched on forward nothing except for our networks.
func confineOthers(on []switched) error {
	if len(on) == 0 {
		return removeGuard()
	}
	return transact(func(c *nftables.Conn) error {
		c.AddTable(guard())
		c.DelTable(guard())
		c.AddTable(guard())
		rules := []words{
			rule(fromOurs(), accept()),
			rule(toOurs(), accept()),
			rule(answers(), accept()),
			rule(published(), accept()),
		}
		for _, v := range []version{ip4, ip6} {
			more, err := confined(c, v, on)
			if err != nil {
				return err
			}
			rules = append(rules, more...)
		}
		t := table{guard(), c}
		t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter, rules...)
		return nil
	})
}

// confined returns the rules for the interfaces that forward one version of IP, which are in a
// set, and for frames that stay on one bridge, which come by if bridges are filtered as if they
// were routed.
func confined(c *nftables.Conn, v version, on []switched) ([]words, error) {
	var names, same []nftables.SetElement
	everywhere := false
	for _, s := range on {
		parts := strings.Split(s.path, "/") // net, ipv4 or ipv6, conf, interface, setting
		if isIP6(s) != (v == ip6) || parts[4] == "accept_ra" {
			continue
		}
		if parts[3] == "all" {
			everywhere = true
			continue
		}
		link := name(parts[3])
		names = append(names, nftables.SetElement{Key: link})
		same = append(same, nftables.SetElement{Key: slices.Concat(link, link)})
	}
	if everywhere {
		return []words{rule(v.is(), drop())}, nil
	}
	if len(names) == 0 {
		return nil, nil
	}
	links := setOf(guard(), "links"+v.suffix, keyOfTap)
	bridged := setOf(guard(), "bridged"+v.suffix, keyOf(keyOfTap, keyOfTap))
	err := errors.Join(c.AddSet(links, nil), c.AddSet(bridged, nil), addAll(c, links, names), addAll(c, bridged, same))
	if err != nil {
		return nil, err
	}
	return []words{
		rule(v.is(), passes(bridged.Name), accept()),
		rule(v.is(), meta(iifname), in(links.Name), drop()),
	}, nil
}

// recordName has more letters than an interface can have, after which others may name what is beside it.
const recordName = "interfaces-that-forward"

func (b *Backend) recordPath() string { return filepath.Join(b.directory, recordName) }

// readRecord returns what has been switched since the machine was booted.
func (b *Backend) readRecord() (record []switched, err error) {
	text, err := os.ReadFile(b.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	boot, bootErr := proc.BootID()
	if err := errors.Join(err, bootErr); err != nil {
		return nil, fmt.Errorf("cannot read which interfaces forward for networks: %w", cause(err))
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[0] != boot {
		return nil, nil
	}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) != 3 || !isSetting(fields[0]) {
			return nil, errors.New("cannot read which interfaces forward for networks: the file is damaged")
		}
		record = append(record, switched{fields[0], fields[1], fields[2]})
	}
	return record, nil
}

// isSetting refuses paths that lead elsewhere.
func isSetting(path string) bool {
	parts := strings.Split(path, "/")
	return len(parts) == 5 && filepath.IsLocal(path) && !slices.Contains(parts, "..") && !slices.Contains(parts, "")
}

func (b *Backend) writeRecord(record []switched) error {
	boot, err := proc.BootID()
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintln(&text, boot)
	for _, s := range record {
		fmt.Fprintln(&text, s.path, s.was, s.now)
	}
	err = durable.Clean(b.recordPath())
	if err == nil {
		err = durable.Replace(b.recordPath(), []byte(text.String()), 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot note which interfaces forward for networks: %w", cause(err))
	}
	return nil
}

func (b *Backend) removeRecord() error {
	err := os.Remove(b.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, durable.Clean(b.recordPath())); err != nil {
		return fmt.Errorf("cannot forget which interfaces forwarded for networks: %w", cause(err))
	}
	return nil
}

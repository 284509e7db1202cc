package bridge

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/test/netns"
)

// snapshot describes all that a network may change: interfaces, addresses, routes, rules, tables
// with their chains, rules and elements, settings, and files.
func snapshot(t testing.TB, directory string) string {
	t.Helper()
	var s strings.Builder
	links, err := netlink.LinkList()
	require.NoError(t, err)
	slices.SortFunc(links, func(a, b netlink.Link) int { return strings.Compare(a.Attrs().Name, b.Attrs().Name) })
	for _, link := range links {
		a := link.Attrs()
		fmt.Fprintln(&s, "link", a.Name, link.Type(), a.MTU, a.HardwareAddr, a.Group, a.Alias, a.RawFlags&unix.IFF_UP)
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		require.NoError(t, err)
		for _, address := range addresses {
			if !address.IP.IsLinkLocalUnicast() { // they come in their own time
				fmt.Fprintln(&s, "address", a.Name, address.IPNet)
			}
		}
		for _, path := range []string{"ipv4/conf/%s/forwarding", "ipv4/conf/%s/route_localnet", "ipv6/conf/%s/forwarding",
			"ipv6/conf/%s/accept_ra", "ipv6/conf/%s/" + force, "ipv6/conf/%s/disable_ipv6"} {
			path := fmt.Sprintf("net/"+path, a.Name)
			value, _ := read(path) // older kernels lack some
			fmt.Fprintln(&s, path, value)
		}
	}
	for _, path := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/default/forwarding"} {
		fmt.Fprintln(&s, path, setting(t, path))
	}
	routes, err := routeList()
	require.NoError(t, err)
	for _, r := range routes {
		if r.Table == unix.RT_TABLE_MAIN && !r.Dst.IP.IsLinkLocalUnicast() {
			fmt.Fprintln(&s, "route", r.Dst, r.Gw)
		}
	}
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	require.NoError(t, err)
	fmt.Fprintln(&s, len(rules), "rules")
	describeTables(t, &s)
	files, err := filepath.Glob(filepath.Join(directory, "*"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		fmt.Fprintf(&s, "%s\n%s\n", file, text)
	}
	return s.String()
}

func describeTables(t testing.TB, s *strings.Builder) {
	c, err := nftables.New()
	require.NoError(t, err)
	list, err := c.ListTables()
	require.NoError(t, err)
	for _, table := range list {
		fmt.Fprintln(s, "table", table.Family, table.Name)
		chains, err := c.ListChainsOfTableFamily(table.Family)
		require.NoError(t, err)
		for _, chain := range chains {
			if chain.Table.Name == table.Name {
				rules, err := c.GetRules(table, chain)
				require.NoError(t, err)
				fmt.Fprintln(s, "chain", chain.Name, len(rules))
			}
		}
		sets, err := c.GetSets(table)
		require.NoError(t, err)
		for _, set := range sets {
			elements, err := c.GetSetElements(set)
			require.NoError(t, err)
			for _, e := range elements {
				fmt.Fprintf(s, "element %s %q %q\n", set.Name, e.Key, e.Val)
			}
		}
	}
}

// updown is the program of that name, which dies at failpoints.
type updown struct {
	t         *testing.T
	program   string
	directory string
}

func newUpdown(t *testing.T) updown {
	t.Helper()
	u := updown{t, filepath.Join(t.TempDir(), "updown"), t.TempDir()}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", failpoint.Tag, "-o", u.program, "./testdata/updown").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return u
}

// run runs the program, and returns the failpoints that it has come to.
func (u updown) run(do, kill string) (points []string) {
	u.t.Helper()
	log := filepath.Join(u.t.TempDir(), "log")
	c := exec.CommandContext(u.t.Context(), u.program, do, u.directory)
	c.Env = append(os.Environ(), failpoint.Kill+"="+kill, failpoint.Log+"="+log)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if kill == "" {
		require.NoError(u.t, err, "%s", out.String())
	} else {
		require.Equal(u.t, syscall.SIGKILL, c.ProcessState.Sys().(syscall.WaitStatus).Signal(), kill)
	}
	visits := map[string]int{}
	text, _ := os.ReadFile(log) // it may have come to none
	for _, name := range strings.Fields(string(text)) {
		visits[name]++
		points = append(points, fmt.Sprint(name, " ", visits[name]))
	}
	return points
}

// TestKilledAnywhere: whenever the process is killed, the next Up makes the same as one that was
// not interrupted, and the next Down leaves nothing.
func TestKilledAnywhere(t *testing.T) {
	newWorld(t)
	u := newUpdown(t)
	nothing := snapshot(t, u.directory)
	ups := u.run("up", "")
	all := snapshot(t, u.directory)
	require.Contains(t, all, "link service bridge 1400")
	downs := u.run("down", "")
	require.Equal(t, nothing, snapshot(t, u.directory))
	require.Greater(t, len(ups), 5)
	require.Greater(t, len(downs), 3)

	for _, point := range ups {
		u.run("up", point)
		u.run("up", "")
		require.Equal(t, all, snapshot(t, u.directory), point)
		u.run("down", "")
		require.Equal(t, nothing, snapshot(t, u.directory), point)

		u.run("up", point)
		u.run("down", "")
		require.Equal(t, nothing, snapshot(t, u.directory), point)
	}
	for _, point := range downs {
		u.run("up", "")
		u.run("down", point)
		u.run("down", "")
		require.Equal(t, nothing, snapshot(t, u.directory), point)

		u.run("up", "")
		u.run("down", point)
		u.run("up", "")
		require.Equal(t, all, snapshot(t, u.directory), point)
		u.run("down", "")
	}
}

// TestAfterAReboot all is gone except the file, which no longer says what is switched on.
func TestAfterAReboot(t *testing.T) {
	w := newWorld(t)
	old := "another boot\nnet/ipv4/conf/card0/forwarding 1 0\n"
	require.NoError(t, os.WriteFile(w.backend.recordPath(), []byte(old), 0o600))
	nothing := snapshot(t, t.TempDir())
	w.up(service, nil)
	require.Equal(t, "1", setting(t, "net/ipv4/conf/card0/forwarding"))
	require.NoError(t, w.backend.Down(service.Name))
	require.Equal(t, nothing, snapshot(t, t.TempDir()))
}

// TestRepair: what somebody has removed or changed is made again.
func TestRepair(t *testing.T) {
	w := newWorld(t)
	station := Station{Tap: "tap1", Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.2")}}
	up := func() string {
		require.NoError(t, w.backend.Up(service6(), []Station{station}, []Forward{tcp("", 80, 80, station.Addresses[0])}))
		return snapshot(t, t.TempDir())
	}
	w.up(service6(), nil)
	want := up()
	bridge, err := find(service.Name)
	require.NoError(t, err)
	for what, damage := range map[string]func() error{
		"down":              func() error { return netlink.LinkSetDown(bridge) },
		"MTU":               func() error { return netlink.LinkSetMTU(bridge, 1300) },
		"MAC":               func() error { return netlink.LinkSetHardwareAddr(bridge, []byte{2, 0, 0, 0, 0, 9}) },
		"alias":             func() error { return netlink.LinkSetAlias(bridge, "mine") },
		"no address":        func() error { return netlink.AddrDel(bridge, &netlink.Addr{IPNet: ipNet(service.Gateway)}) },
		"another address":   func() error { return netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(other().Gateway)}) },
		"no tables":         func() error { return removeTables(service.Name) },
		"no guard":          removeGuard,
		"no forwarding":     func() error { return set("net/ipv4/conf/service/forwarding", "0") },
		"no forwarding out": func() error { return set("net/ipv4/conf/card0/forwarding", "0") },
		"no bridge":         func() error { return netlink.LinkDel(bridge) },
	} {
		require.NoError(t, damage(), what)
		require.Equal(t, want, up(), what)
		bridge, err = find(service.Name)
		require.NoError(t, err)
	}
}

// TestOthers that the host has are not touched, even if they look similar.
func TestOthers(t *testing.T) {
	w := newWorld(t)
	netns.Bridge(t, "by-hand")
	link, err := netlink.LinkByName("by-hand")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetAlias(link, alias))
	require.NoError(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.99.0.1/24"))}))
	c, err := nftables.New()
	require.NoError(t, err)
	foreign := &nftables.Table{Family: nftables.TableFamilyINet, Name: "firewall"}
	foreignTable := table{c.AddTable(foreign), c}
	foreignTable.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0, rule(from(7), drop()))
	require.NoError(t, c.Flush())
	t.Cleanup(func() {
		c.DelTable(foreign)
		require.NoError(t, c.Flush())
	})
	before := snapshot(t, t.TempDir())

	byHand := service
	byHand.Name = "by-hand"
	const refusal = "cannot make network by-hand: the host has an interface by-hand already: choose another name"
	require.EqualError(t, w.backend.Check(byHand), refusal)
	require.EqualError(t, w.backend.Up(byHand, nil, nil), refusal)
	require.NoError(t, w.backend.Down("by-hand"))
	require.Equal(t, before, snapshot(t, t.TempDir()))

	w.up(service, nil)
	require.NoError(t, w.backend.Down(service.Name))
	require.Equal(t, before, snapshot(t, t.TempDir()))
}

// TestForwardingIsSwitchedBack when the last network goes, and not before; what was on before stays
// on, and what somebody else has switched meanwhile stays as it is.
func TestForwardingIsSwitchedBack(t *testing.T) {
	const v4, v6 = "net/ipv4/conf/card0/forwarding", "net/ipv6/conf/card0/" + force
	w := newWorld(t)
	w.up(service6(), nil)
	w.up(other(), nil)
	require.NoError(t, w.backend.Down(service.Name))
	require.Equal(t, "1", setting(t, v4))
	require.NoError(t, w.backend.Down(other().Name))
	require.Equal(t, "0", setting(t, v4))
	if perInterface6() {
		require.Equal(t, "0", setting(t, v6))
	}

	require.NoError(t, set(v4, "1"))
	w.up(service, nil)
	require.NoError(t, w.backend.Down(service.Name))
	require.Equal(t, "1", setting(t, v4), "it was on before")
	require.NoError(t, set(v4, "0"))

	w.up(service, nil)
	require.NoError(t, set("net/ipv4/ip_forward", "1"))
	t.Cleanup(func() { require.NoError(t, set("net/ipv4/ip_forward", "0")) })
	require.NoError(t, w.backend.Up(service, nil, nil))
	require.NotContains(t, tables(t), "albatross", "what the host forwards itself is nobody's business")
	require.NoError(t, w.backend.Down(service.Name))
	require.Equal(t, "1", setting(t, v4), "the host forwards by now")
}

// TestForwardingOfIPv6BeforeLinux617: an interface goes on accepting router advertisements.
func TestForwardingOfIPv6BeforeLinux617(t *testing.T) {
	const all, accepts = "net/ipv6/conf/all/forwarding", "net/ipv6/conf/card0/accept_ra"
	w := newWorld(t)
	asBeforeLinux617(t)
	require.NoError(t, set(accepts, "1"))
	w.up(service, nil)
	require.Equal(t, "0", setting(t, all), "nobody needs it")
	w.up(other(), nil)
	for range 2 {
		require.Equal(t, "1", setting(t, all))
		require.Equal(t, "2", setting(t, accepts))
		require.NoError(t, w.backend.Up(service, nil, nil))
	}
	require.NoError(t, w.backend.Down(service.Name))
	require.NoError(t, w.backend.Down(other().Name))
	require.Equal(t, "0", setting(t, all))
	require.Equal(t, "1", setting(t, accepts))
}

// TestARecordThatCannotBeWritten switches nothing on.
func TestARecordThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	directory := w.backend.directory
	w.backend.directory = filepath.Join(directory, "none")
	require.EqualError(t, w.backend.Up(service, nil, nil),
		"cannot make network service: cannot note which interfaces forward for networks: no such file or directory")
	require.Equal(t, "0", setting(t, "net/ipv4/conf/card0/forwarding"))
	w.backend.directory = directory
	require.NoError(t, w.backend.Down(service.Name))
}

// TestTheRecordIsNoNetwork: the directory may have one directory for each network, too.
func TestTheRecordIsNoNetwork(t *testing.T) {
	require.Error(t, messages.CheckInterface(recordName))
}

func TestADamagedRecord(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.backend.writeRecord(nil))
	boot, err := os.ReadFile(w.backend.recordPath())
	require.NoError(t, err)
	for _, line := range []string{"x", "net/ipv4/conf/../forwarding 0 1", "net/ipv4/../../../etc 0 1", "kernel/a/b/c/d/e 0 1"} {
		require.NoError(t, os.WriteFile(w.backend.recordPath(), append(boot, line...), 0o600))
		require.EqualError(t, w.backend.Up(service, nil, nil),
			"cannot make network service: cannot read which interfaces forward for networks: the file is damaged", line)
	}
	require.NoError(t, os.Remove(w.backend.recordPath()))
	require.NoError(t, w.backend.Down(service.Name))
}

package bridge

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestCheck(t *testing.T) {
	w := newWorld(t)
	w.up(other(), nil)
	card, err := netlink.LinkByName("card0")
	require.NoError(t, err)
	add := func(r netlink.Route) {
		r.LinkIndex = card.Attrs().Index
		require.NoError(t, netlink.RouteAdd(&r))
		t.Cleanup(func() { require.NoError(t, netlink.RouteDel(&r)) })
	}
	add(netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.50.0.0/16")), Gw: net.ParseIP(outsider)})
	add(netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.60.0.0/16")), Gw: net.ParseIP(outsider), Table: 7})
	add(netlink.Route{Dst: ipNet(netip.MustParsePrefix("0.0.0.0/1")), Gw: net.ParseIP(outsider)})
	add(netlink.Route{Dst: ipNet(netip.MustParsePrefix("2000::/3")), Gw: net.ParseIP(outsider6)})

	for _, test := range []struct {
		why    string
		change func(*Network)
	}{
		{"", func(*Network) {}},
		{"", func(n *Network) { n.Gateway6 = netip.MustParsePrefix("fd00:90::1/126") }},
		{"", func(n *Network) { n.Gateway = netip.MustParsePrefix("10.90.0.1/30") }},
		{"its subnet 192.0.2.0/25 overlaps 192.0.2.0/24 of interface card0: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("192.0.2.9/25") }},
		{"its subnet 10.88.0.0/14 overlaps 10.91.0.0/24 of interface other: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.90.0.1/14") }},
		{"its subnet fd00:91::/64 overlaps fd00:91::/64 of interface other: choose another with --subnet",
			func(n *Network) { n.Gateway6 = netip.MustParsePrefix("fd00:91::9/64") }},
		{"its subnet 10.50.7.0/24 overlaps 10.50.0.0/16 of interface card0: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.50.7.1/24") }},
		{"its subnet 10.60.7.0/24 overlaps 10.60.0.0/16 of interface card0: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.60.7.1/24") }},
		{"its subnet 10.90.0.0/31 is too small for a gateway and a unikernel: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.90.0.1/31") }},
		{"its subnet fd00:90::/127 is too small for a gateway and a unikernel: choose another with --subnet",
			func(n *Network) { n.Gateway6 = netip.MustParsePrefix("fd00:90::1/127") }},
		{"its subnet 10.0.0.0/7 is too large: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.90.0.1/7") }},
		{"its gateway 10.90.0.0 stands for all of its subnet 10.90.0.0/24: choose another with --gateway",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.90.0.0/24") }},
		{"its gateway 10.90.0.255 stands for all of its subnet 10.90.0.0/24: choose another with --gateway",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("10.90.0.255/24") }},
		{"its gateway fd00:90:: stands for all of its subnet fd00:90::/64: choose another with --gateway",
			func(n *Network) { n.Gateway6 = netip.MustParsePrefix("fd00:90::/64") }},
		{"its subnet 127.9.0.0/24 is not for hosts: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("127.9.0.1/24") }},
		{"its subnet 224.0.0.0/24 is not for hosts: choose another with --subnet",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("224.0.0.1/24") }},
		{"its subnet fe80::/64 is not for hosts: choose another with --subnet",
			func(n *Network) { n.Gateway6 = netip.MustParsePrefix("fe80::1/64") }},
		{"it has no gateway: choose a subnet with --subnet", func(n *Network) { n.Gateway = netip.Prefix{} }},
		{"one gateway is IPv4, and the other, if there is one, IPv6",
			func(n *Network) { n.Gateway = netip.MustParsePrefix("fd00:90::1/64") }},
		{"one gateway is IPv4, and the other, if there is one, IPv6",
			func(n *Network) { n.Gateway6 = netip.MustParsePrefix("10.95.0.1/24") }},
		{"its MTU is 575: choose one from 576 to 65521 with --mtu", func(n *Network) { n.MTU = 575 }},
		{"its MTU is 65522: choose one from 576 to 65521 with --mtu", func(n *Network) { n.MTU = 65522 }},
		{"its MTU is 1279: choose one from 1280 to 65521 with --mtu",
			func(n *Network) { n.MTU, n.Gateway6 = 1279, netip.MustParsePrefix("fd00:90::1/64") }},
		{"the host has an interface card0 already: choose another name", func(n *Network) { n.Name = "card0" }},
		{`"a/b" cannot be the name of an interface: it contains '/' or ':'`, func(n *Network) { n.Name = "a/b" }},
	} {
		n := service
		test.change(&n)
		if test.why == "" {
			require.NoError(t, w.backend.Check(n))
			continue
		}
		require.EqualError(t, w.backend.Check(n), "cannot make network "+n.Name+": "+test.why)
	}
	require.NoError(t, w.backend.Check(other()), "it exists already")
}

func TestFreeSubnet(t *testing.T) {
	w := newWorld(t)
	free := func(taken ...string) string {
		var list []netip.Prefix
		for _, p := range taken {
			list = append(list, netip.MustParsePrefix(p))
		}
		subnet, err := w.backend.FreeSubnet(list...)
		if err != nil {
			return err.Error()
		}
		return subnet.String()
	}
	require.Equal(t, "10.89.0.0/24", free())
	require.Equal(t, "10.89.1.0/24", free("10.89.0.1/25"))
	require.Equal(t, "10.91.0.0/24", free("10.89.0.0/16", "10.90.0.0/16"))
	require.Contains(t, free("10.0.0.0/8"), "cannot choose a subnet: ")
	n := service
	n.Gateway = netip.MustParsePrefix("10.89.0.1/16")
	w.up(n, nil)
	require.Equal(t, "10.90.0.0/24", free())
}

// TestWhoCannotMakeNetworks: an ordinary user, and root without its rights here.
func TestWhoCannotMakeNetworks(t *testing.T) {
	newWorld(t)
	possible := func(as *syscall.SysProcAttr) string {
		program, err := os.Open(os.Args[0]) // it may be in a directory that others may not read
		require.NoError(t, err)
		defer func() { _ = program.Close() }()
		c := exec.CommandContext(t.Context(), "/proc/self/fd/3")
		c.Env, c.ExtraFiles, c.SysProcAttr = append(os.Environ(), possibility+"=1"), []*os.File{program}, as
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Equal(t, "<nil>", possible(nil))
	require.Equal(t, "cannot make networks of the kernel: root is needed",
		possible(&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}))
	root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	require.Contains(t, possible(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: root, GidMappings: root}),
		"cannot make networks of the kernel: ")
}

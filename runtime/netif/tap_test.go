package netif_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/netif"
	"albatross/test/netns"
)

func TestCreateIsUpAndOnItsBridge(t *testing.T) {
	netns.Bridge(t, bridge)
	netns.Bridge(t, "other")
	tap := made(t)
	require.Equal(t, "vmmtap0", tap.Link().Name)
	require.Equal(t, []string{"vmmtap0"}, netns.Ports(t, bridge))
	require.Empty(t, netns.Ports(t, "other"))

	master, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	link, err := netlink.LinkByIndex(tap.Link().Index)
	require.NoError(t, err)
	require.Equal(t, "vmmtap0", link.Attrs().Name)
	require.Equal(t, master.Attrs().Index, link.Attrs().MasterIndex)
	require.NotZero(t, link.Attrs().RawFlags&unix.IFF_UP)
	require.Equal(t, 1500, link.Attrs().MTU)
	require.True(t, link.(*netlink.Tuntap).NonPersist)

	require.Equal(t, fmt.Sprint(tap.Link().Index), show(t, "vmmtap0", "ifindex"))
	require.Equal(t, "1", show(t, "vmmtap0", "carrier"))
	require.Equal(t, "0x1002", show(t, "vmmtap0", "tun_flags"), "a tap without packet information")
}

// A tap is never an interface of the host's own that is up.
func TestCreateAttachesBeforeItIsUp(t *testing.T) {
	netns.Bridge(t, bridge)
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	require.NoError(t, err)
	defer events.Close()
	require.NoError(t, events.SetReceiveTimeout(&unix.Timeval{Sec: 30}))
	tap := made(t)
	for {
		messages, _, err := events.Receive()
		require.NoError(t, err)
		for _, message := range messages {
			link, err := netlink.LinkDeserialize(nil, message.Data)
			require.NoError(t, err)
			if attrs := link.Attrs(); attrs.Index == tap.Link().Index && attrs.RawFlags&unix.IFF_UP != 0 {
				require.NotZero(t, attrs.MasterIndex)
				return
			}
		}
	}
}

// show returns what a file in /sys says about an interface.
func show(t *testing.T, name, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/sys/class/net", name, file))
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

func TestTheLowestFreeNumberIsTaken(t *testing.T) {
	netns.Bridge(t, bridge)
	add(t, &netlink.Veth{LinkAttrs: named("vmmtap1"), PeerName: "vmmtap3"})
	names := func(n int) (names []string, taps []*netif.Tap) {
		for range n {
			taps = append(taps, made(t))
			names = append(names, taps[len(taps)-1].Link().Name)
		}
		return names, taps
	}
	first, taps := names(3)
	require.Equal(t, []string{"vmmtap0", "vmmtap2", "vmmtap4"}, first)
	require.NoError(t, taps[1].Close())
	next, again := names(2)
	require.Equal(t, []string{"vmmtap2", "vmmtap5"}, next)
	require.NotEqual(t, taps[1].Link(), again[0].Link())
}

func TestCreateByManyAtOnce(t *testing.T) {
	const many = 20
	netns.Bridge(t, bridge)
	var wait sync.WaitGroup
	taps, errs := make([]*netif.Tap, many), make([]error, many)
	for i := range many {
		wait.Go(func() { taps[i], errs[i] = netif.Create(bridge) })
	}
	wait.Wait()
	got, want := map[string]bool{}, map[string]bool{}
	for i := range many {
		require.NoError(t, errs[i])
		got[taps[i].Link().Name], want[fmt.Sprintf("vmmtap%d", i)] = true, true
	}
	require.Equal(t, want, got)
	for i := range many {
		wait.Go(func() { errs[i] = taps[i].Close() })
	}
	wait.Wait()
	for i := range many {
		require.NoError(t, errs[i])
	}
	require.Empty(t, netns.Ports(t, bridge))
}

func TestCloseMakesItVanish(t *testing.T) {
	netns.Bridge(t, bridge)
	before := descriptors(t)
	tap := made(t)
	require.Equal(t, before+1, descriptors(t))
	closes, err := unix.FcntlInt(uintptr(descriptor(t)), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.Equal(t, unix.FD_CLOEXEC, closes, "no process that is started has it")
	require.NoError(t, tap.Close())
	require.False(t, exists(t, tap.Link()))
	require.Equal(t, before, descriptors(t))

	next := made(t)
	require.NoError(t, tap.Close(), "again")
	require.True(t, exists(t, next.Link()), "another of the same name")
	require.ErrorContains(t, tap.Keep(), "cannot keep tap vmmtap0: ")
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// A process that is killed leaves what it has kept, and nothing else.
func TestKilledProcess(t *testing.T) {
	for mode, stays := range map[string]bool{"create": false, "keep": true} {
		t.Run(mode, func(t *testing.T) {
			netns.Bridge(t, bridge)
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), maker+"="+mode)
			c.Stderr = os.Stderr
			out, err := c.StdoutPipe()
			require.NoError(t, err)
			_, err = c.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			var link messages.Link
			_, scanned := fmt.Fscanln(out, &link.Name, &link.Index)
			there := netns.Ports(t, bridge)
			require.NoError(t, c.Process.Signal(unix.SIGKILL))
			require.EqualError(t, c.Wait(), "signal: killed")

			require.NoError(t, scanned)
			require.Equal(t, []string{"vmmtap0"}, there)
			require.Equal(t, stays, exists(t, link))
			require.NoError(t, netif.Remove(link))
			require.Empty(t, netns.Ports(t, bridge))
		})
	}
}

// A bridge has 1023 ports at most. The test fills it with interfaces that are all removed at once,
// which takes as long as to remove one.
func TestCreateThatFailsInTheMiddleLeavesNothing(t *testing.T) {
	const ports, group = 1023, 7
	netns.Bridge(t, bridge)
	master, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	t.Cleanup(func() {
		request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
		request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(group)))
		_, err := request.Execute(unix.NETLINK_ROUTE, 0)
		require.NoError(t, err)
	})
	for i := range ports {
		attrs := named(fmt.Sprintf("full%d", i))
		attrs.MasterIndex, attrs.Group = master.Attrs().Index, group
		require.NoError(t, netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}))
	}
	before := descriptors(t)
	_, err = netif.Create(bridge)
	require.EqualError(t, err, "cannot make a tap on bridge service: all its ports are taken")
	requireNoTap(t)
	require.Equal(t, before, descriptors(t))
}

func requireNoTap(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob("/sys/class/net/vmmtap*")
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWithoutTheDevice(t *testing.T) {
	netns.Bridge(t, bridge)
	hide := func(source, target, kind string, flags uintptr) {
		require.NoError(t, unix.Mount(source, target, kind, flags, "")) // in a namespace of our own
		t.Cleanup(func() { require.NoError(t, unix.Unmount(target, 0)) })
	}
	hide("/dev/null", "/dev/net/tun", "", unix.MS_BIND)
	_, err := netif.Create(bridge)
	require.EqualError(t, err, "cannot make a tap on bridge service: inappropriate ioctl for device")
	hide("none", "/dev/net", "tmpfs", 0)
	_, err = netif.Create(bridge)
	require.EqualError(t, err, "cannot make a tap on bridge service: cannot open /dev/net/tun: no such file or directory")
}

// Other interfaces are never listed: that would take memory for all of them.
func TestOthersCostNothing(t *testing.T) {
	netns.Bridge(t, bridge)
	cycle := func() {
		tap, err := netif.Create(bridge)
		require.NoError(t, err)
		require.NoError(t, tap.Keep())
		require.NoError(t, netif.Remove(tap.Link()))
		require.Error(t, netif.CheckBridge("none"))
	}
	alone := testing.AllocsPerRun(10, cycle)
	for range 50 {
		made(t)
	}
	require.InDelta(t, alone, testing.AllocsPerRun(10, cycle), 20)
}

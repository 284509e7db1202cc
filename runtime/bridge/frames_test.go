package bridge

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/netif"
	"albatross/test/netns"
)

const (
	everybody = "\xff\xff\xff\xff\xff\xff"
	typeIP    = "\x08\x00"
	typeARP   = "\x08\x06"
	typeIP6   = "\x86\xdd"
)

// tap makes a tap as the daemon does, and opens it as a tender does. Nothing may be sent yet.
func tap(t testing.TB, network string) (*netns.Port, string) {
	t.Helper()
	made, err := netif.Create(network)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, netif.Remove(made.Link())) })
	require.NoError(t, made.Keep())
	return netns.OpenPort(t, made.Link().Name), made.Link().Name
}

func big(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func raw4(a string) string { return string(netip.MustParseAddr(a).AsSlice()) }

// packet4 returns an IPv4 packet.
func packet4(from, to string, protocol byte, contents string) string {
	head := []byte("\x45\x00" + big(20+len(contents)) + "\x00\x00\x00\x00\x40" + string([]byte{protocol}) + "\x00\x00" + raw4(from) + raw4(to))
	sum := uint32(0)
	for i := 0; i < len(head); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(head[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(head[10:], ^uint16(sum+sum>>16))
	return string(head) + contents
}

// packet6 returns an IPv6 packet.
func packet6(from, to string, protocol byte, contents string) string {
	return "\x60\x00\x00\x00" + big(len(contents)) + string([]byte{protocol}) + "\xff" + raw4(from) + raw4(to) + contents
}

func datagram(from, to int) string { return big(from) + big(to) + big(12) + "\x00\x00" + "data" }

// hello returns a message of ARP.
func hello(mac, address, kind string) string {
	return kind + "\x08\x00\x06\x04" + "\x00\x02" + mac + raw4(address) + everybody + raw4("10.90.0.1")
}

// icmp6 returns a message of ICMPv6 about an address.
func icmp6(kind byte, target string) string {
	return string([]byte{kind}) + "\x00\x00\x00" + "\x00\x00\x00\x00" + raw4(target)
}

// TestWhatAStationMaySend: a frame that is dropped never arrives at a neighbour, to whom others
// come that were sent later.
func TestWhatAStationMaySend(t *testing.T) { inBothWorlds(t, whatAStationMaySend) }

func whatAStationMaySend(t *testing.T, w *world) {
	const mine, its = "\x02\x00\x00\x00\x01\x02", "\x02\x00\x00\x00\x01\x03"
	const ether = "\x00\x01"
	const local, global = "fe80::ff:fe00:102", "fd00:90::2"
	w.up(service6(), nil)
	me, name := tap(t, service.Name)
	neighbour, _ := tap(t, service.Name)
	require.NoError(t, w.backend.Allow(service.Name, Station{Tap: name, MAC: messages.MAC([]byte(mine)),
		Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.2"), netip.MustParseAddr(global)}}))
	marker := func(text string) string {
		return everybody + mine + typeIP + packet4("10.90.0.2", "10.90.0.9", 17, datagram(9, 9)+text)
	}
	me.Reach(neighbour, marker("first"))

	for _, test := range []struct {
		what    string
		frame   string // after the receiver
		arrives bool
	}{
		{"a packet", mine + typeIP + packet4("10.90.0.2", "10.90.0.3", 17, datagram(1, 2)), true},
		{"another MAC address", its + typeIP + packet4("10.90.0.2", "10.90.0.3", 17, datagram(1, 2)), false},
		{"another IPv4 address", mine + typeIP + packet4("10.90.0.3", "10.90.0.2", 17, datagram(1, 2)), false},
		{"no IPv4 address", mine + typeIP + packet4("0.0.0.0", "10.90.0.3", 17, datagram(1, 2)), false},
		{"ARP", mine + typeARP + hello(mine, "10.90.0.2", ether), true},
		{"ARP before it has an address", mine + typeARP + hello(mine, "0.0.0.0", ether), true},
		{"another address in ARP", mine + typeARP + hello(mine, "10.90.0.1", ether), false},
		{"another MAC address in ARP", mine + typeARP + hello(its, "10.90.0.2", ether), false},
		{"ARP of another kind", mine + typeARP + hello(mine, "10.90.0.2", "\x00\x06"), false},
		{"a question for an address", mine + typeIP + packet4("0.0.0.0", "255.255.255.255", 17, datagram(68, 67)), true},
		{"such a question to one", mine + typeIP + packet4("0.0.0.0", "10.90.0.3", 17, datagram(68, 67)), false},
		{"an answer to such a question", mine + typeIP + packet4("10.90.0.2", "255.255.255.255", 17, datagram(67, 68)), false},
		{"the same for IPv6", mine + typeIP6 + packet6(local, "ff02::1", 17, datagram(547, 546)), false},
		{"a question for an IPv6 address", mine + typeIP6 + packet6(local, "ff02::1:2", 17, datagram(546, 547)), true},
		{"a redirect", mine + typeIP + packet4("10.90.0.2", "10.90.0.3", 1, "\x05\x01\x00\x00"+"\x00\x00\x00\x00"), false},
		{"a ping", mine + typeIP + packet4("10.90.0.2", "10.90.0.3", 1, "\x08\x00\x00\x00"+"\x00\x00\x00\x00"), true},
		{"an IPv6 packet", mine + typeIP6 + packet6(global, "fd00:90::3", 17, datagram(1, 2)), true},
		{"another IPv6 address", mine + typeIP6 + packet6("fd00:90::3", global, 17, datagram(1, 2)), false},
		{"another link-local address", mine + typeIP6 + packet6("fe80::1", global, 17, datagram(1, 2)), false},
		{"no IPv6 address", mine + typeIP6 + packet6("::", "ff02::1", 17, datagram(1, 2)), false},
		{"a question whether an address is free", mine + typeIP6 + packet6("::", "ff02::1", 58, icmp6(135, global)), true},
		{"an answer about itself", mine + typeIP6 + packet6(global, "ff02::1", 58, icmp6(136, global)), true},
		{"an answer about its link-local address", mine + typeIP6 + packet6(local, "ff02::1", 58, icmp6(136, local)), true},
		{"an answer about another", mine + typeIP6 + packet6(global, "ff02::1", 58, icmp6(136, "fd00:90::1")), false},
		{"an advertisement as a router", mine + typeIP6 + packet6(local, "ff02::1", 58, icmp6(134, global)), false},
		{"a redirect of IPv6", mine + typeIP6 + packet6(local, "ff02::1", 58, icmp6(137, global)), false},
		{"a VLAN", mine + "\x81\x00\x00\x01" + typeIP + packet4("10.90.0.2", "10.90.0.3", 17, datagram(1, 2)), false},
		{"another protocol", mine + "\x88\xb5" + "hello", false},
		{"a frame of the bridge protocol", mine + "\x00\x07" + "\x42\x42\x03\x00\x00\x00\x00", false},
	} {
		me.Send(everybody + test.frame)
		before := untilMarker(me, neighbour, marker(test.what))
		require.Equal(t, test.arrives, contains(before, everybody+test.frame), "%s: %q", test.what, before)
	}
}

// untilMarker sends a frame that arrives in any case, and returns what has arrived before it.
func untilMarker(from, to *netns.Port, marker string) []string {
	from.Send(marker)
	return to.Until(marker)
}

func contains(frames []string, frame string) bool {
	for _, f := range frames {
		if strings.TrimRight(f, "\x00") == strings.TrimRight(frame, "\x00") {
			return true
		}
	}
	return false
}

// TestATapThatIsNotAllowed sends nothing, be it new, or no longer allowed, or one that has the
// name of another.
func TestATapThatIsNotAllowed(t *testing.T) {
	const good, bad = "\x02\x00\x00\x00\x01\x02", "\x02\x00\x00\x00\x01\x03"
	w := newWorld(t)
	w.up(service, nil)
	one, name := tap(t, service.Name)
	two, second := tap(t, service.Name)
	receiver, _ := tap(t, service.Name)
	address := netip.MustParseAddr("10.90.0.2")
	allowed := Station{Tap: name, MAC: messages.MAC([]byte(good)), Addresses: []netip.Addr{address}}
	require.NoError(t, w.backend.Allow(service.Name, allowed))
	frame := func(mac, text string) string {
		return everybody + mac + typeIP + packet4("10.90.0.2", "10.90.0.9", 17, datagram(9, 9)+text)
	}
	one.Reach(receiver, frame(good, "first"))

	silent := func(p *netns.Port, mac, text string) {
		t.Helper()
		p.Send(frame(mac, text))
		require.False(t, contains(untilMarker(one, receiver, frame(good, "after "+text)), frame(mac, text)), text)
	}
	silent(two, good, "of a tap that is new")
	silent(two, bad, "of a tap that is new, with another address")

	other := Station{Tap: second, MAC: messages.MAC([]byte(bad)), Addresses: []netip.Addr{address}}
	require.NoError(t, w.backend.Allow(service.Name, other))
	two.Send(frame(bad, "allowed"))
	receiver.Receive(frame(bad, "allowed"))
	require.NoError(t, w.backend.Disallow(service.Name, other))
	silent(two, bad, "of a tap that was allowed")
	require.NoError(t, w.backend.Disallow(service.Name, other), "twice")

	require.NoError(t, w.backend.Allow(service.Name, other))
	require.NoError(t, w.backend.Up(service, []Station{allowed}, nil))
	silent(two, bad, "of a tap that is not among those of Up")
}

// TestOtherBridges are left alone, whatever is sent on them.
func TestOtherBridges(t *testing.T) { inBothWorlds(t, otherBridges) }

func otherBridges(t *testing.T, w *world) {
	netns.Bridge(t, "by-hand")
	w.up(service, nil)
	a, b := netns.NewPort(t, "by-hand"), netns.NewPort(t, "by-hand")
	const mac = "\x02\x00\x00\x00\x01\x02"
	a.Reach(b, everybody+mac+"\x88\xb5"+"hello")
	// The host forwards for networks from this bridge, and would have to be told to do so for it.
	a.Reach(b, "\x02\x00\x00\x00\x01\x03"+mac+typeIP+packet4("10.7.0.2", "10.7.0.3", 17, datagram(67, 68)))
}

// TestARate: what passes is at most the rate, and what may come at once. A neighbour without a
// rate is not slower for it.
func TestARate(t *testing.T) {
	const rate, size, frames = 1 << 18, 1400, 4000
	w := newWorld(t)
	w.up(service, nil)
	slow, slowName := tap(t, service.Name)
	fast, fastName := tap(t, service.Name)
	stations := []Station{
		{Tap: slowName, MAC: messages.MAC{2, 0, 0, 0, 1, 2}, Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.2")}, Rate: rate},
		{Tap: fastName, MAC: messages.MAC{2, 0, 0, 0, 1, 3}, Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.3")}},
	}
	host := string(hostAddress(service.Name))
	frame := func(i int) string {
		return host + string(stations[i].MAC[:]) + typeIP +
			packet4(stations[i].Addresses[0].String(), "10.90.0.1", 253, strings.Repeat("x", size-34))
	}
	require.NoError(t, w.backend.Allow(service.Name, stations[1]))
	awaitForwarding(t, fast, frame(1))
	for _, how := range []string{"allowed", "up", "allowed with another rate before"} {
		switch how {
		case "allowed":
			require.NoError(t, w.backend.Allow(service.Name, stations[0]))
		case "up":
			require.NoError(t, w.backend.Up(service, stations, nil))
		default:
			more := stations[0]
			more.Rate *= 1000
			require.NoError(t, w.backend.Allow(service.Name, more))
			require.NoError(t, w.backend.Allow(service.Name, stations[0]))
			require.NoError(t, w.backend.Allow(service.Name, stations[0]), "twice")
		}
		begin, before := time.Now(), received(t)
		for range frames {
			slow.Send(frame(0))
		}
		passed, most := received(t)-before, rate+burst+int(time.Since(begin).Seconds()*rate)+2*size
		require.LessOrEqual(t, passed, most, how)
		require.Greater(t, passed, rate, how)

		before = received(t)
		for range frames {
			fast.Send(frame(1))
		}
		require.Equal(t, frames*(size-14), received(t)-before, "%s: the neighbour", how)
	}
	stations[0].Rate = 0
	require.NoError(t, w.backend.Allow(service.Name, stations[0]))
	before := received(t)
	for range frames {
		slow.Send(frame(0))
	}
	require.Equal(t, frames*(size-14), received(t)-before, "without a rate")
}

// awaitForwarding sends a frame until the bridge lets the host have it.
func awaitForwarding(t *testing.T, p *netns.Port, frame string) {
	t.Helper()
	before := received(t)
	for end := time.Now().Add(patience); received(t) == before; {
		require.True(t, time.Now().Before(end))
		p.Send(frame)
	}
}

// received returns how many bytes the host has had from the network.
func received(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/sys/class/net/service/statistics/rx_bytes")
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return n
}

func TestMTU(t *testing.T) {
	for _, mtu := range []int{1280, 1500, 9000} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			w := newWorld(t)
			n := service6()
			n.MTU = mtu
			w.up(n, nil)
			a, b := w.allowed(n, 2), w.allowed(n, 3)
			b.echo(":53")
			a.Do(func() {
				ask(t, "10.90.0.3:53", strings.Repeat("x", mtu-28))
				ask(t, "[fd00:90::3]:53", strings.Repeat("x", mtu-48))
			})
			serveHere(t, ":80")
			require.NotEmpty(t, a.call("10.90.0.1:80"))

			_, name := tap(t, n.Name)
			tapLink, err := netlink.LinkByName(name)
			require.NoError(t, err)
			require.Equal(t, mtu, tapLink.Attrs().MTU)
			port, err := netlink.LinkByName(a.Tap)
			require.NoError(t, err)
			require.NoError(t, netlink.LinkSetMTU(port, 600))
			require.NoError(t, netlink.LinkSetNoMaster(port))
			bridge, err := netlink.LinkByName(n.Name)
			require.NoError(t, err)
			require.Equal(t, mtu, bridge.Attrs().MTU, "whoever comes and goes")
			require.Equal(t, hostAddress(n.Name), bridge.Attrs().HardwareAddr)
		})
	}
}

// TestTheBridge itself cannot be told by a station how to behave.
func TestTheBridge(t *testing.T) {
	w := newWorld(t)
	w.up(service6(), nil)
	for path, want := range map[string]string{"multicast_snooping": "0", "stp_state": "0"} {
		value, err := os.ReadFile("/sys/class/net/service/bridge/" + path)
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(string(value)), path)
	}
	for _, path := range []string{"net/ipv4/conf/service/accept_redirects", "net/ipv6/conf/service/accept_redirects", "net/ipv6/conf/service/accept_ra"} {
		require.Equal(t, "0", setting(t, path), path)
	}
}

// TestWithoutIPv6 stations do not reach the host by link-local addresses either.
func TestWithoutIPv6(t *testing.T) {
	w := newWorld(t)
	w.up(service, nil)
	require.Equal(t, "1", setting(t, "net/ipv6/conf/service/disable_ipv6"))
	require.NoError(t, set("net/ipv6/conf/all/accept_dad", "1"))
	t.Cleanup(func() { require.NoError(t, set("net/ipv6/conf/all/accept_dad", "0")) })
	require.NoError(t, w.backend.Up(service6(), nil, nil))
	serveHere(t, "[fd00:90::1]:80") // at once: nobody has to try the address out
	require.NoError(t, w.backend.Up(service, nil, nil))
	link, err := netlink.LinkByName(service.Name)
	require.NoError(t, err)
	list, err := netlink.AddrList(link, unix.AF_UNSPEC)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, service.Gateway, prefixOf(list[0].IPNet))
}

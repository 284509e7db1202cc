package bridge

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
)

// other is a second network.
func other() Network {
	return Network{Name: "other", Gateway: netip.MustParsePrefix("10.91.0.1/24"),
		Gateway6: netip.MustParsePrefix("fd00:91::1/64"), MTU: 1500, NAT: true}
}

// knows makes the outside send packets for a network to the host, as a neighbour there can.
func (w *world) knows(n Network) {
	w.t.Helper()
	w.outside.Do(func() {
		for i, gateway := range gateways(n) {
			via := []string{hostOutside, hostOutside6}[i]
			require.NoError(w.t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(via), Dst: ipNet(gateway.Masked())}))
		}
	})
}

func TestTheOutsideDoesNotReachIn(t *testing.T) { inBothWorlds(t, theOutsideDoesNotReachIn) }

func theOutsideDoesNotReachIn(t *testing.T, w *world) {
	w.up(service6(), nil)
	a := w.allowed(service6(), 2)
	a.serve(":80")
	serveHere(t, ":53")
	w.knows(service6())
	for _, address := range []string{"10.90.0.2:80", "[fd00:90::2]:80", "10.90.0.1:53", "[fd00:90::1]:53"} {
		w.outside.refused(address)
	}
	require.NotEmpty(t, w.outside.call(hostOutside+":53"), "the host is as open as it was")
}

func TestWithoutNAT(t *testing.T) {
	w := newWorld(t)
	n := service6()
	n.NAT = false
	w.up(n, nil)
	w.up(other(), nil)
	a, b := w.allowed(n, 2), w.allowed(other(), 2)
	a.serve(":80")
	w.outside.serve(":80")
	serveHere(t, ":53")
	w.knows(n)
	require.Equal(t, outsider, w.outside.call("10.90.0.2:80"))
	require.Equal(t, outsider6, w.outside.call("[fd00:90::2]:80"))
	require.Equal(t, "10.90.0.2", a.call(outsider+":80"))
	require.Equal(t, "fd00:90::2", a.call("["+outsider6+"]:80"))
	require.NotEmpty(t, w.outside.call("10.90.0.1:53"))
	for _, address := range []string{"10.90.0.2:80", "[fd00:90::2]:80", "10.90.0.1:53", "[fd00:90::1]:53"} {
		b.refused(address)
	}
}

func TestNetworksDoNotSeeEachOther(t *testing.T) { inBothWorlds(t, networksDoNotSeeEachOther) }

func networksDoNotSeeEachOther(t *testing.T, w *world) {
	w.up(service6(), nil)
	w.up(other(), nil)
	a, b := w.allowed(service6(), 2), w.allowed(other(), 2)
	a.serve(":80")
	b.serve(":80")
	serveHere(t, ":53")
	for _, address := range []string{"10.90.0.2:80", "[fd00:90::2]:80", "10.90.0.1:53", "[fd00:90::1]:53"} {
		b.refused(address)
	}
	for _, address := range []string{"10.91.0.2:80", "[fd00:91::2]:80", "10.91.0.1:53", "[fd00:91::1]:53"} {
		a.refused(address)
	}
	require.NoError(t, w.backend.Publish(service.Name, tcp("", 8080, 80, a.Addresses[0])))
	require.Equal(t, "10.90.0.1", b.call(hostOutside+":8080"), "what is published is for all")
}

// TestNetworksInUserModeDoNotReachIn: their processes connect from the host, each as a user of its
// own. Only what is published is for them, as for all.
func TestNetworksInUserModeDoNotReachIn(t *testing.T) {
	inBothWorlds(t, networksInUserModeDoNotReachIn)
}

func networksInUserModeDoNotReachIn(t *testing.T, w *world) {
	w.up(service6(), nil)
	a := w.allowed(service6(), 2)
	a.serve(":80")
	require.NoError(t, w.backend.Publish(service.Name, tcp("", 8080, 80, a.Addresses[0])))
	for _, address := range []string{"10.90.0.2:80", "[fd00:90::2]:80"} {
		require.NotEmpty(t, callHere(t, address))
		for _, pid := range []int{1, 1<<22 - 1} {
			_, err := callAs(t, confine.Own(pid), address, refusal)
			require.Error(t, err, address)
		}
	}
	who, err := callAs(t, confine.Own(1), hostOutside+":8080", patience)
	require.NoError(t, err)
	require.NotEmpty(t, who)
	who, err = callAs(t, confine.FirstUser-1, "10.90.0.2:80", patience)
	require.NoError(t, err, "another user of the host")
	require.NotEmpty(t, who)
}

// callAs is call by another user.
func callAs(t *testing.T, user int, address string, limit time.Duration) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	was, err := unix.SetfsuidRetUid(user) // of this thread
	require.NoError(t, err)
	defer func() { _, _ = unix.SetfsuidRetUid(was) }()
	return call(address, limit)
}

// TestTheHostForwardsNothingElse: not even while networks need it.
func TestTheHostForwardsNothingElse(t *testing.T) {
	for _, old := range []bool{false, true} {
		name := "forwarding of IPv6 by interface"
		if old {
			name = "forwarding of IPv6 by host"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if old {
				asBeforeLinux617(t)
			} else if !perInterface6() {
				t.Skip("the kernel cannot forward IPv6 from one interface only")
			}
			beyond := newSpace(t)
			link := beyond.connect("card1", "there1", nil, "198.51.100.2/24", "2001:db8:1::2/64")
			for _, a := range []string{"198.51.100.1/24", "2001:db8:1::1/64"} {
				addr, err := netlink.ParseAddr(a)
				require.NoError(t, err)
				addr.Flags = unix.IFA_F_NODAD
				require.NoError(t, netlink.AddrAdd(link, addr))
			}
			require.NoError(t, netlink.LinkSetUp(link))
			beyond.route("198.51.100.1")
			beyond.route("2001:db8:1::1")
			beyond.serve(":80")
			w.outside.route(hostOutside)
			w.outside.route(hostOutside6)

			w.up(service6(), nil)
			w.up(other(), nil)
			a := w.allowed(service6(), 2)
			require.NotEmpty(t, a.call("198.51.100.2:80"))
			require.NotEmpty(t, a.call("[2001:db8:1::2]:80"))
			require.NoError(t, w.backend.Down(other().Name))
			for _, address := range []string{"198.51.100.2:80", "[2001:db8:1::2]:80"} {
				w.outside.refused(address)
			}
			require.NotEmpty(t, a.call("198.51.100.2:80"))
			require.Equal(t, "0", setting(t, "net/ipv4/ip_forward"))
		})
	}
}

// asBeforeLinux617 makes the backend ignore what older kernels do not have.
func asBeforeLinux617(t *testing.T) {
	t.Helper()
	real := perInterface6
	perInterface6 = func() bool { return false }
	t.Cleanup(func() { perInterface6 = real })
}

// TestTooManyConnections of one station leave room for those of others.
func TestTooManyConnections(t *testing.T) {
	const most = 20
	w := newWorld(t)
	real := maxConnections
	maxConnections = func() uint32 { return most }
	t.Cleanup(func() { maxConnections = real })
	w.up(service6(), nil)
	a, b := w.allowed(service6(), 2), w.allowed(service6(), 3)
	w.outside.echoOnly(":53")
	for _, address := range []string{outsider + ":53", "[" + outsider6 + "]:53"} {
		for range most { // each from a port of its own
			a.Do(func() { ask(t, address, "one more") })
		}
		a.Do(func() {
			c, err := net.Dial("udp", address)
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			_, err = c.Write([]byte("too many"))
			require.NoError(t, err)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(refusal)))
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
		b.Do(func() { ask(t, address, "of another") })
	}
}

// TestConnectionsGoOn while everything is repaired.
func TestConnectionsGoOn(t *testing.T) {
	w := newWorld(t)
	w.up(service, nil)
	a := w.allowed(service, 2)
	var listener net.Listener
	w.outside.Do(func() {
		var err error
		listener, err = net.Listen("tcp", ":80")
		require.NoError(t, err)
	})
	defer func() { _ = listener.Close() }()
	var c net.Conn
	a.Do(func() {
		var err error
		c, err = net.DialTimeout("tcp", outsider+":80", patience)
		require.NoError(t, err)
	})
	defer func() { _ = c.Close() }()
	other, err := listener.Accept()
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	require.NoError(t, w.backend.Up(service, []Station{a.Station}, nil))
	for _, pair := range [][2]net.Conn{{c, other}, {other, c}} {
		_, err := pair[0].Write([]byte("x"))
		require.NoError(t, err)
		_, err = pair[1].Read(make([]byte, 1))
		require.NoError(t, err)
	}
}

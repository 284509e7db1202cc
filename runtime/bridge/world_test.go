package bridge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/netns"
)

// possibility is the environment variable that makes the test binary print why networks are not
// possible.
const possibility = "BRIDGE_TEST_POSSIBLE"

func TestMain(m *testing.M) {
	netns.Enter()
	if os.Getenv(possibility) != "" {
		fmt.Print(Possible())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const (
	// patience bounds what must happen.
	patience = 30 * time.Second
	// refusal is how long a test waits for what must not happen.
	refusal = 300 * time.Millisecond
)

// A space is a network namespace beside that of the host, in which the tests are.
type space struct {
	*netns.Namespace
	t testing.TB
}

func newSpace(t testing.TB) *space { return &space{netns.New(t), t} }

// connect makes an interface of the host, which is down, and its other end in the namespace,
// which is up and has the given addresses.
func (s *space) connect(here, there string, mac net.HardwareAddr, addresses ...string) netlink.Link {
	s.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = here
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: there, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(s.Descriptor())}
	require.NoError(s.t, netlink.LinkAdd(pair))
	s.t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	s.Do(func() {
		link, err := netlink.LinkByName(there)
		require.NoError(s.t, err)
		for _, a := range addresses {
			addr, err := netlink.ParseAddr(a)
			require.NoError(s.t, err)
			addr.Flags = unix.IFA_F_NODAD
			require.NoError(s.t, netlink.AddrAdd(link, addr))
		}
		require.NoError(s.t, netlink.LinkSetUp(link))
	})
	return pair
}

// route makes all else be reached by way of a gateway.
func (s *space) route(gateway string) {
	s.t.Helper()
	s.Do(func() { require.NoError(s.t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})) })
}

// serve makes a namespace answer connections: with who it thinks has called.
func (s *space) serve(address string) {
	s.t.Helper()
	answer(s.t, s.listen(address))
}

func (s *space) listen(address string) (listener net.Listener) {
	s.t.Helper()
	s.Do(func() {
		var err error
		listener, err = net.Listen("tcp", address)
		require.NoError(s.t, err)
	})
	return listener
}

func answer(t testing.TB, listener net.Listener) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, host)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
}

// call connects to an address, and returns who has called in the eyes of the other side.
func (s *space) call(address string) string {
	s.t.Helper()
	var who string
	var err error
	s.Do(func() { who, err = call(address, patience) })
	require.NoError(s.t, err)
	return who
}

// refused tries to connect to an address, and sees that this does not work.
func (s *space) refused(address string) {
	s.t.Helper()
	var err error
	s.Do(func() { _, err = call(address, refusal) })
	require.Error(s.t, err)
}

func call(address string, limit time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	who, err := io.ReadAll(c)
	return string(who), err
}

// serveHere and callHere are the same in the namespace of the host.
func serveHere(t testing.TB, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	answer(t, listener)
}

func callHere(t testing.TB, address string) string {
	t.Helper()
	who, err := call(address, patience)
	require.NoError(t, err)
	return who
}

// The addresses of the tests.
const (
	hostOutside  = "192.0.2.1"
	outsider     = "192.0.2.2"
	hostOutside6 = "2001:db8::1"
	outsider6    = "2001:db8::2"
)

// A world is a host with a network, and an outside that knows nothing of the network.
type world struct {
	t       testing.TB
	backend *Backend
	outside *space
	guests  int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	netns.Need(t)
	filterBridges(t, "0")
	w := &world{t: t, backend: New(t.TempDir()), outside: newSpace(t)}
	t.Cleanup(func() { require.NoError(t, w.backend.Close()) })
	link := w.outside.connect("card0", "there0", nil, outsider+"/24", outsider6+"/64")
	for _, a := range []string{hostOutside + "/24", hostOutside6 + "/64"} {
		addr, err := netlink.ParseAddr(a)
		require.NoError(t, err)
		addr.Flags = unix.IFA_F_NODAD
		require.NoError(t, netlink.AddrAdd(link, addr))
	}
	require.NoError(t, netlink.LinkSetUp(link))
	return w
}

// filterBridges says whether the kernel filters what stays on a bridge as if it were routed, which
// some programs for containers switch on.
func filterBridges(t testing.TB, value string) {
	t.Helper()
	for _, version := range []string{"ip", "ip6"} {
		err := set("net/bridge/bridge-nf-call-"+version+"tables", value)
		if value != "0" || !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
	}
}

// inBothWorlds runs a test in a world where bridges are filtered, too.
func inBothWorlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("usual", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("bridges are filtered", func(t *testing.T) {
		w := newWorld(t)
		if _, err := read("net/bridge/bridge-nf-call-iptables"); err != nil {
			t.Skipf("the kernel cannot filter bridges so: %v", err)
		}
		filterBridges(t, "1")
		test(t, w)
	})
}

// service is the network of most tests.
var service = Network{
	Name:    "service",
	Gateway: netip.MustParsePrefix("10.90.0.1/24"),
	MTU:     1500,
	NAT:     true,
}

// service6 is the same with IPv6.
func service6() Network {
	n := service
	n.Gateway6 = netip.MustParsePrefix("fd00:90::1/64")
	return n
}

// up makes a network, which goes at the end of the test.
func (w *world) up(n Network, stations []Station, forwards ...Forward) {
	w.t.Helper()
	require.NoError(w.t, w.backend.Check(n))
	w.t.Cleanup(func() { require.NoError(w.t, w.backend.Down(n.Name)) })
	require.NoError(w.t, w.backend.Up(n, stations, forwards))
}

// A guest is a namespace that stands for a unikernel.
type guest struct {
	*space
	Station
}

// guest makes a guest on a network. Its addresses are the gateway's with another end. It may
// not send yet.
func (w *world) guest(n Network, end byte) guest {
	w.t.Helper()
	w.guests++
	g := guest{newSpace(w.t), Station{Tap: fmt.Sprintf("tap%d", w.guests), MAC: messages.MAC{2, 0, 0, 0, byte(w.guests), end}}}
	var prefixes []string
	for _, gateway := range gateways(n) {
		bytes := gateway.Addr().AsSlice()
		bytes[len(bytes)-1] = end
		addr, _ := netip.AddrFromSlice(bytes)
		g.Addresses = append(g.Addresses, addr)
		prefixes = append(prefixes, netip.PrefixFrom(addr, gateway.Bits()).String())
	}
	tap := g.connect(g.Tap, "eth0", g.MAC[:], prefixes...)
	bridge, err := find(n.Name)
	require.NoError(w.t, err)
	require.NoError(w.t, netlink.LinkSetMTU(tap, n.MTU))
	g.Do(func() {
		eth0, err := netlink.LinkByName("eth0")
		require.NoError(w.t, err)
		require.NoError(w.t, netlink.LinkSetMTU(eth0, n.MTU))
	})
	require.NoError(w.t, netlink.LinkSetGroup(tap, int(bridge.Attrs().Group)))
	require.NoError(w.t, netlink.LinkSetMaster(tap, bridge))
	require.NoError(w.t, netlink.LinkSetUp(tap))
	for _, gateway := range gateways(n) {
		g.route(gateway.Addr().String())
	}
	return g
}

// allowed makes a guest that may send.
func (w *world) allowed(n Network, end byte) guest {
	w.t.Helper()
	g := w.guest(n, end)
	require.NoError(w.t, w.backend.Allow(n.Name, g.Station))
	return g
}

func tcp(host string, from, to uint16, target netip.Addr) Forward {
	p := messages.Publication{From: from, To: to}
	if host != "" {
		p.Host = netip.MustParseAddr(host)
	}
	return Forward{p, target}
}

// tables returns the names of all tables of nftables.
func tables(t testing.TB) (names []string) {
	t.Helper()
	c, err := nftables.New()
	require.NoError(t, err)
	list, err := c.ListTables()
	require.NoError(t, err)
	for _, table := range list {
		names = append(names, table.Name)
	}
	return names
}

// setting reads one of the kernel's.
func setting(t testing.TB, path string) string {
	t.Helper()
	value, err := os.ReadFile(filepath.Join(settings, path))
	require.NoError(t, err)
	return strings.TrimSpace(string(value))
}

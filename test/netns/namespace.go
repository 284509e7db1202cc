package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"albatross/runtime/netif"
)

// A Namespace is a network namespace beside that of the tests. All that is made in it vanishes with
// the last process in it, after the test.
type Namespace struct {
	t    testing.TB
	file *os.File
}

// ofThread is the network namespace of the thread that opens it.
const ofThread = "/proc/thread-self/ns/net"

// New makes a network namespace in which lo is up.
func New(t testing.TB) *Namespace {
	t.Helper()
	Need(t)
	n := &Namespace{t: t}
	n.away(func() {
		require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
		var err error
		n.file, err = os.Open(ofThread)
		require.NoError(t, err)
		t.Cleanup(func() { _ = n.file.Close() })
		lo, err := netlink.LinkByName("lo")
		require.NoError(t, err)
		require.NoError(t, netlink.LinkSetUp(lo))
	})
	return n
}

// Descriptor returns the namespace, to move interfaces there. It stays the namespace's.
func (n *Namespace) Descriptor() int { return int(n.file.Fd()) }

// Do calls a function in the namespace. The processes that it starts are in it, and so are the
// sockets that it opens; other goroutines are not.
func (n *Namespace) Do(f func()) {
	n.t.Helper()
	n.away(func() {
		require.NoError(n.t, unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET))
		f()
	})
}

// do is Do for a function that may fail.
func (n *Namespace) do(f func() error) {
	n.t.Helper()
	n.Do(func() { require.NoError(n.t, f()) })
}

// away calls a function that may enter another namespace, and comes back.
func (n *Namespace) away(f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	here, err := os.Open(ofThread)
	require.NoError(n.t, err)
	defer func() {
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // another goroutine would go on in the wrong one
		}
		_ = here.Close()
		runtime.UnlockOSThread()
	}()
	f()
}

// Bridge makes a bridge that is up.
func (n *Namespace) Bridge(name string) {
	n.t.Helper()
	n.Do(func() { makeBridge(n.t, name) })
}

// FullBridge makes a bridge that has all the ports that it can have.
func (n *Namespace) FullBridge(name string) {
	n.t.Helper()
	n.Do(func() {
		makeBridge(n.t, name)
		fill(n.t, name)
	})
}

// Port makes a tap of the test's own, as NewPort does.
func (n *Namespace) Port(bridge string) (port *Port) {
	n.t.Helper()
	n.Do(func() { port = NewPort(n.t, bridge) })
	return port
}

// Links returns the interfaces.
func (n *Namespace) Links() (links []netlink.Link) {
	n.t.Helper()
	n.Do(func() {
		require.NoError(n.t, netif.Uninterrupted(func() (err error) {
			links, err = netlink.LinkList()
			return err
		}))
	})
	return links
}

// Tap makes an interface of the namespace with an address, behind which is all else by way of a
// gateway. The frames that leave it are read from the file, which is closed at the end of the test,
// and those that are written there arrive.
func (n *Namespace) Tap(mac net.HardwareAddr, address netip.Prefix, gateway netip.Addr) (frames *os.File) {
	n.t.Helper()
	n.do(func() error {
		file, name, err := openTap("eth%d")
		if err != nil {
			return err
		}
		frames = file
		n.t.Cleanup(func() { _ = file.Close() })
		tap, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetHardwareAddr(tap, mac); err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr(address.String())
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(tap, parsed); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(tap); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: gateway.AsSlice()})
	})
	return frames
}

// Listen listens for TCP in the namespace, until the end of the test.
func (n *Namespace) Listen(address string) (l net.Listener) {
	n.t.Helper()
	n.do(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	n.t.Cleanup(func() { _ = l.Close() })
	return l
}

// Dial connects to somebody else from the namespace.
func (n *Namespace) Dial(network, address string) (c net.Conn) {
	n.t.Helper()
	n.do(func() (err error) {
		if c, err = net.DialTimeout(network, address, deadline); err != nil {
			return fmt.Errorf("from the namespace: %w", err)
		}
		return nil
	})
	return c
}

package netns

import (
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

// Do calls a function in the namespace. The processes that it starts are in it, and so are the
// sockets that it opens; other goroutines are not.
func (n *Namespace) Do(f func()) {
	n.t.Helper()
	n.away(func() {
		require.NoError(n.t, unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET))
		f()
	})
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

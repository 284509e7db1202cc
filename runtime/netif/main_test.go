package netif_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"albatross/messages"
	"albatross/runtime/netif"
	"albatross/test/netns"
)

// maker is the environment variable that makes the test binary a process that
// makes a tap, keeps it if the variable is "keep", and waits to be killed.
const maker = "NETIF_TEST_MAKER"

func TestMain(m *testing.M) {
	netns.Enter()
	if mode := os.Getenv(maker); mode != "" {
		makeAndWait(mode)
	}
	goleak.VerifyTestMain(m)
}

func makeAndWait(mode string) {
	tap, err := netif.Create(bridge)
	if err == nil && mode == "keep" {
		err = tap.Keep()
	}
	if err != nil {
		panic(err)
	}
	fmt.Println(tap.Link().Name, tap.Link().Index)
	_, _ = os.Stdin.Read(make([]byte, 1)) // nothing is written to it
	os.Exit(1)
}

// bridge is the name of the bridge of the tests.
const bridge = "service"

// made returns a tap that is removed at the end of the test, kept or not.
func made(t testing.TB) *netif.Tap {
	t.Helper()
	tap, err := netif.Create(bridge)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, tap.Close())
		require.NoError(t, netif.Remove(tap.Link()))
	})
	return tap
}

// add makes any interface, which is removed at the end of the test.
func add(t *testing.T, link netlink.Link) messages.Link {
	t.Helper()
	require.NoError(t, netlink.LinkAdd(link))
	found, err := netlink.LinkByName(link.Attrs().Name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, netlink.LinkDel(found)) })
	return messages.Link{Name: found.Attrs().Name, Index: found.Attrs().Index}
}

// named returns the attributes of an interface to make.
func named(name string) netlink.LinkAttrs {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return attrs
}

func exists(t *testing.T, link messages.Link) bool {
	t.Helper()
	_, err := netlink.LinkByIndex(link.Index)
	if _, gone := err.(netlink.LinkNotFoundError); gone {
		return false
	}
	require.NoError(t, err)
	return true
}

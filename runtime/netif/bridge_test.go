package netif_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/runtime/netif"
	"albatross/test/netns"
)

// A bridge is found only by its name, whatever characters that has.
func TestBridgesByName(t *testing.T) {
	for _, name := range []string{bridge, "b", "fifteen-letters", "br%d", "%", "br\xff\x01\x7f~", "brücke", "-", "...", "'\"$;`"} {
		t.Run(name, func(t *testing.T) {
			netns.Need(t)
			missing := "interface " + name + " does not exist"
			require.EqualError(t, netif.CheckBridge(name), missing)
			_, err := netif.Create(name)
			require.EqualError(t, err, "cannot make a tap on bridge "+name+": "+missing)

			// The kernel replaces a percent sign in the name of a new interface.
			if strings.Contains(name, "%") {
				return
			}
			netns.Bridge(t, name)
			require.NoError(t, netif.CheckBridge(name))
			tap, err := netif.Create(name)
			require.NoError(t, err)
			require.Equal(t, []string{"vmmtap0"}, netns.Ports(t, name))
			require.NoError(t, tap.Close())
		})
	}
}

func TestBridgesAreInterfacesThatAreBridges(t *testing.T) {
	netns.Need(t)
	names, err := netif.Bridges()
	require.NoError(t, err)
	require.Empty(t, names)
	netns.Bridge(t, "service")
	netns.Bridge(t, "br-test")
	netns.NewPort(t, "service")
	names, err = netif.Bridges()
	require.NoError(t, err)
	require.Equal(t, []string{"br-test", "service"}, names)
}

// The kernel would find the bridge by some of these names.
func TestNamesOfNoInterface(t *testing.T) {
	netns.Bridge(t, bridge)
	link, err := netlink.LinkByName(bridge)
	require.NoError(t, err)
	long := strings.Repeat("long", 20)
	require.NoError(t, netlink.LinkAddAltName(link, "other"))
	require.NoError(t, netlink.LinkAddAltName(link, long))
	for _, name := range []string{
		"", "servic", "service2", "Service", "service ", " service", "service\n", "service\x00", "service\x00x",
		"\x00", "\x00service", ".", "..", "../service", "net/service", "service:1", "1", "2", "vmmtap%d",
		"sixteen--letters", "service" + strings.Repeat("\x00", 20), strings.Repeat("x", 200), strings.Repeat("x", 1<<20),
		"other", long,
	} {
		require.EqualError(t, netif.CheckBridge(name), "interface "+name+" does not exist")
		_, err := netif.Create(name)
		require.ErrorContains(t, err, "does not exist")
	}
	require.NoError(t, netif.CheckBridge(bridge))
	require.Empty(t, netns.Ports(t, bridge))
}

func TestOtherInterfacesAreNoBridges(t *testing.T) {
	netns.Bridge(t, bridge)
	add(t, &netlink.Veth{LinkAttrs: named("veth0"), PeerName: "veth1"})
	for _, name := range []string{"lo", "veth0", made(t).Link().Name} {
		text := "interface " + name + " is not a bridge"
		require.EqualError(t, netif.CheckBridge(name), text)
		_, err := netif.Create(name)
		require.EqualError(t, err, "cannot make a tap on bridge "+name+": "+text)
	}
}

// TestBridgesWhileInterfacesComeAndGo: a list that spans several messages of the
// kernel is interrupted by each change.
func TestBridgesWhileInterfacesComeAndGo(t *testing.T) {
	netns.Need(t)
	netns.Bridge(t, bridge)
	for range 50 {
		made(t)
	}
	var changing sync.WaitGroup
	enough := make(chan struct{})
	defer changing.Wait()
	defer close(enough)
	changing.Go(func() {
		for {
			select {
			case <-enough:
				return
			default:
				tap, err := netif.Create(bridge)
				if err == nil {
					err = tap.Close()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 100 {
		names, err := netif.Bridges()
		require.NoError(t, err)
		require.Equal(t, []string{bridge}, names)
	}
}

package machine

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"albatross/runtime/netif"
	"albatross/test/netns"
)

func TestMain(m *testing.M) {
	netns.Enter()
	goleak.VerifyTestMain(m)
}

// watched opens a watch that is closed at the end of the test.
func watched(t *testing.T, open func() (*Watch, error)) *Watch {
	t.Helper()
	w, err := open()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

// requireNews waits for news. The deadline must not fail the test on a busy machine.
func requireNews(t *testing.T, w *Watch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, w.Wait(ctx))
}

// requireNoNews checks that no message that has arrived is news.
func requireNoNews(t *testing.T, w *Watch) {
	t.Helper()
	var news bool
	require.NoError(t, w.conn.Control(func(fd uintptr) {
		var err error
		news, err = w.drain(int(fd))
		require.NoError(t, err)
	}))
	require.False(t, news)
}

func TestBridgesAreWatched(t *testing.T) {
	netns.Need(t)
	w := watched(t, WatchBridges)
	requireNoNews(t, w)
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "service"}}
	require.NoError(t, netlink.LinkAdd(link))
	requireNews(t, w)
	require.NoError(t, netlink.LinkSetName(link, "other"))
	requireNews(t, w)
	require.NoError(t, netlink.LinkDel(link))
	requireNews(t, w)
	requireNoNews(t, w)
}

// Taps come and go with every unikernel, and are no news: to look at the machine costs a list of
// all interfaces.
func TestOtherInterfacesAreNoNews(t *testing.T) {
	netns.Bridge(t, "service")
	w := watched(t, WatchBridges)
	cycle := func() {
		tap, err := netif.Create("service")
		require.NoError(t, err)
		require.NoError(t, tap.Close())
	}
	cycle()
	requireNews(t, w) // the watch has not seen the bridge before
	cycle()
	requireNoNews(t, w)
}

// TestLostMessagesAreNews: a watch that gets too many messages at once has missed some.
func TestLostMessagesAreNews(t *testing.T) {
	netns.Need(t)
	w := watched(t, WatchBridges)
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	for i := range 2000 {
		require.NoError(t, netlink.LinkSetMTU(lo, 60000+i%2))
	}
	requireNews(t, w)
	requireNoNews(t, w)
}

// The test asks the kernel to send again that there is a CPU, as udevadm trigger does. Other
// listeners on this machine get that, too.
func TestCPUsAreWatched(t *testing.T) {
	netns.Need(t)
	w := watched(t, WatchDevices)
	if err := os.WriteFile("/sys/devices/system/cpu/cpu0/uevent", []byte("change"), 0); err != nil {
		t.Skipf("cannot make the kernel send that there is a CPU: %v", err)
	}
	requireNews(t, w)
}

func TestEventsOfTheKernel(t *testing.T) {
	for event, news := range map[string]bool{
		"online@/devices/system/cpu/cpu1\x00ACTION=online\x00DEVPATH=/devices/system/cpu/cpu1\x00SUBSYSTEM=cpu\x00SEQNUM=7\x00": true,
		"online@/devices/system/memory/memory32\x00ACTION=online\x00SUBSYSTEM=memory\x00":                                       true,
		"add@/devices/virtual/net/cpu\x00ACTION=add\x00SUBSYSTEM=net\x00INTERFACE=cpu\x00":                                      false,
		"x\x00SUBSYSTEM=cpuid\x00": false,
		"":                         false,
	} {
		require.Equal(t, news, isDeviceEvent([]byte(event)), "%q", event)
	}
}

func TestAWatchThatIsGivenUp(t *testing.T) {
	netns.Need(t)
	for _, open := range []func() (*Watch, error){WatchBridges, WatchDevices} {
		w := watched(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Wait(ctx) }()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.ErrorIs(t, w.Wait(ctx), context.Canceled)
	}
}

// BenchmarkLook measures what it costs to look at a machine with many interfaces.
func BenchmarkLook(b *testing.B) {
	netns.Bridge(b, "service")
	dir, others := b.TempDir(), 0
	for _, want := range []int{0, 100, 1000} {
		for ; others < want; others++ {
			tap, err := netif.Create("service")
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, tap.Close()) })
		}
		b.Run(fmt.Sprintf("taps=%d", others), func(b *testing.B) {
			for b.Loop() {
				_, err := RootPolicy(dir)
				require.NoError(b, err)
			}
		})
	}
}

package sample_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"albatross/messages"
	"albatross/runtime/sample"
	"albatross/test/netns"
)

const testBridge = "service"

// interfaces measures taps of a process that runs.
func interfaces(t *testing.T, ports ...messages.Port) []messages.IfData {
	t.Helper()
	target, _ := start(t, "wait")
	target.Ports = ports
	return take(t, target).Stats.IfData
}

func TestCounters(t *testing.T) {
	netns.Bridge(t, testBridge)
	link := addTap(t, "tap-a")
	tap, err := netlink.LinkByName(link.Name)
	require.NoError(t, err)
	bridge, err := netlink.LinkByName(testBridge)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetMaster(tap, bridge))
	require.NoError(t, netlink.LinkSetMTU(tap, 1400))
	unikernel, other := netns.OpenPort(t, link.Name), netns.NewPort(t, testBridge)
	const broadcast = "\xff\xff\xff\xff\xff\xff"
	unikernel.Reach(other, broadcast+"\x02\x00\x00\x00\x00\x01\x12\x34from the unikernel")
	other.Reach(unikernel, broadcast+"\x02\x00\x00\x00\x00\x02\x12\x34to the unikernel, which is longer")

	port := messages.Port{Device: "net", Link: link}
	require.Eventually(t, func() bool { // some frames may be under way
		list := interfaces(t, port)
		require.Len(t, list, 1)
		got := list[0]
		tap, err := netlink.LinkByName(link.Name)
		require.NoError(t, err)
		says := tap.Attrs().Statistics
		want := messages.IfData{
			Device: "net", Flags: tap.Attrs().RawFlags, MTU: 1400,
			InputPackets: int64(says.RxPackets), OutputPackets: int64(says.TxPackets),
			InputBytes: int64(says.RxBytes), OutputBytes: int64(says.TxBytes),
			InputErrors: int64(says.RxErrors), OutputErrors: int64(says.TxErrors),
			InputDropped: int64(says.RxDropped), OutputDropped: int64(says.TxDropped),
			InputMcast: int64(says.Multicast), Collisions: int64(says.Collisions),
		}
		return got == want && got.InputPackets > 0 && got.OutputPackets > 0 && got.InputBytes != got.OutputBytes
	}, deadline, pause)
}

func TestTapsThatAreNotThere(t *testing.T) {
	a, b := addTap(t, "tap-a"), addTap(t, "tap-b")
	reused := b
	reused.Index++
	list := interfaces(t,
		messages.Port{Device: "gone", Link: messages.Link{Name: "tap-c", Index: 5}},
		messages.Port{Device: "reused", Link: reused},
		messages.Port{Device: "by-name", Link: messages.Link{Name: "tap-b"}},
		messages.Port{Device: "a", Link: a},
		messages.Port{Device: "none", Link: messages.Link{}},
	)
	require.Len(t, list, 2)
	require.Equal(t, "by-name", list[0].Device)
	require.Equal(t, "a", list[1].Device)
	require.Equal(t, uint32(1500), list[1].MTU)
}

// A process whose tap is gone is measured all the same.
func TestATapThatIsRemoved(t *testing.T) {
	link := addTap(t, "tap-a")
	target, _ := start(t, "wait")
	target.Ports = []messages.Port{{Device: "net", Link: link}}
	require.Len(t, take(t, target).Stats.IfData, 1)
	tap, err := netlink.LinkByName(link.Name)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkDel(tap))
	require.Empty(t, take(t, target).Stats.IfData)
}

// All taps are found if they do not fit into one answer of the kernel.
func TestManyTaps(t *testing.T) {
	target, _ := start(t, "wait")
	for i := range 100 {
		target.Ports = append(target.Ports, messages.Port{Link: addTap(t, tapName(i))})
	}
	require.Len(t, take(t, target).Stats.IfData, 100)
	require.Equal(t, sample.Pass{}, takeAll(t))
}

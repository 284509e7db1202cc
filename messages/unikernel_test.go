package messages_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestTexts(t *testing.T) {
	require.Equal(t, "solo5", messages.Solo5.String())
	require.Equal(t, "bhyve", messages.BHyve.String())
	require.Equal(t, "02:ff:00:0a:bc:de", messages.MAC{2, 0xff, 0, 0x0a, 0xbc, 0xde}.String())
}

func TestOption(t *testing.T) {
	require.Equal(t, 3, messages.Some(3).Or(5))
	require.Equal(t, 0, messages.Some(0).Or(5))
	require.Equal(t, 5, messages.Option[int]{}.Or(5))
	require.NotEqual(t, messages.Some(0), messages.Option[int]{})
}

// TestLimits: native numbers have 63 bits.
func TestLimits(t *testing.T) {
	require.Equal(t, int64(4611686018427387903), int64(messages.MaxInt))
	require.Equal(t, int64(-4611686018427387904), int64(messages.MinInt))
}

// TestUnknownDevices: what an older form of Info leaves out has a meaning.
func TestUnknownDevices(t *testing.T) {
	b := messages.BlockInfo{Name: "storage"}
	require.Equal(t, "storage", b.HostDevice())
	require.Equal(t, 512, b.SectorBytes())
	b.Device, b.SectorSize = messages.Some("data"), messages.Some(4096)
	require.Equal(t, "data", b.HostDevice())
	require.Equal(t, 4096, b.SectorBytes())

	n := messages.NetworkInfo{Name: "service"}
	require.Equal(t, "service", n.HostBridge())
	require.Equal(t, "ff:ff:ff:ff:ff:ff", n.Address().String())
	n.Bridge, n.MAC = messages.Some("br0"), messages.Some(messages.MAC{2})
	require.Equal(t, "br0", n.HostBridge())
	require.Equal(t, messages.MAC{2}, n.Address())
}

func TestAddressesThatNoDeviceHas(t *testing.T) {
	for mac, why := range map[messages.MAC]string{
		{}:                                   "it is zero",
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}: "it is for broadcasts",
		{0x33, 0x33, 0, 0, 0, 1}:             "it is for multicasts, as the first byte is odd",
		{1}:                                  "it is for multicasts, as the first byte is odd",
	} {
		require.EqualError(t, mac.Usable(), "cannot use the MAC address "+mac.String()+": "+why)
	}
	for _, mac := range []messages.MAC{{0, 0, 0, 0, 0, 1}, {2}, {0, 0x80, 0x41, 1, 1, 1}, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		require.NoError(t, mac.Usable())
	}
}

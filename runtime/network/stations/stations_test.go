package stations

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/network/wire"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestATable(t *testing.T) {
	table := New()
	web := wire.Station{Name: "a:Web", MAC: messages.MAC{2, 1}, Addresses: []netip.Addr{addr("10.0.0.2"), addr("fd00::2")}}
	second := wire.Station{Name: ":a:web", MAC: messages.MAC{2, 2}, Addresses: []netip.Addr{addr("10.0.0.3")}}
	nameless := wire.Station{MAC: messages.MAC{2, 3}}
	for _, s := range []wire.Station{second, web, nameless} {
		require.NoError(t, table.Put(s))
	}
	got, found := table.Get(web.MAC)
	require.True(t, found)
	require.Equal(t, web, got)
	got, found = table.At(addr("fd00::2"))
	require.True(t, found)
	require.Equal(t, web, got)
	list, found := table.Named("a.web")
	require.True(t, found)
	require.ElementsMatch(t, []netip.Addr{addr("10.0.0.2"), addr("10.0.0.3"), addr("fd00::2")}, list)
	_, found = table.Named("")
	require.False(t, found)

	require.EqualError(t, table.Put(wire.Station{MAC: messages.MAC{2, 4}, Addresses: second.Addresses}),
		"the address 10.0.0.3 is that of 02:02:00:00:00:00")

	// Another address and name of the same station replace the former.
	web.Name, web.Addresses = "b", []netip.Addr{addr("10.0.0.4")}
	require.NoError(t, table.Put(web))
	_, found = table.At(addr("10.0.0.2"))
	require.False(t, found)
	list, _ = table.Named("a.web")
	require.Equal(t, second.Addresses, list)

	table.Remove(second.MAC)
	table.Remove(second.MAC)
	_, found = table.Named("a.web")
	require.False(t, found)
	_, found = table.At(addr("10.0.0.3"))
	require.False(t, found)
}

func TestParts(t *testing.T) {
	table := New()
	for i := range byte(5) {
		require.NoError(t, table.Put(wire.Station{MAC: messages.MAC{2, 4 - i}}))
	}
	var all []wire.Station
	for more, after := true, (messages.MAC{}); more; {
		var part []wire.Station
		part, more = table.After(after, 2)
		require.LessOrEqual(t, len(part), 2)
		all = append(all, part...)
		after = part[len(part)-1].MAC
	}
	require.Len(t, all, 5)
	for i, s := range all {
		require.Equal(t, messages.MAC{2, byte(i)}, s.MAC)
	}
}

func TestAFullTable(t *testing.T) {
	table := New()
	for i := range Max {
		require.NoError(t, table.Put(wire.Station{MAC: messages.MAC{2, byte(i >> 8), byte(i)}}))
	}
	require.Error(t, table.Put(wire.Station{MAC: messages.MAC{2, 0xff, 0xff}}))
	require.NoError(t, table.Put(wire.Station{MAC: messages.MAC{2, 0, 1}, Name: "again"}))
}

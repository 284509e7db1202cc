package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// on returns the arguments of a unikernel with an address on each of some bridges.
func on(mac byte, bridges ...string) messages.Arguments {
	a := args(1)
	for _, b := range bridges {
		a.Networks = append(a.Networks, messages.Network{Name: "on-" + b, Bridge: messages.Some(b), MAC: messages.Some(messages.MAC{2, 5: mac})})
	}
	return a
}

func TestAnAddressIsUsedOnceOnABridge(t *testing.T) {
	l := New()
	taken := "cannot use the MAC address 02:00:00:00:00:01: another unikernel has it on bridge br0 (give one with --net NAME:BRIDGE@MAC)"
	x, y := name(t, "a:x"), name(t, "b:y")
	require.EqualError(t, l.Reserve(x, on(1, "br0", "br0")), "cannot use the MAC address 02:00:00:00:00:01 twice on bridge br0")
	require.NoError(t, l.Reserve(x, on(1, "br0", "br1")))
	require.EqualError(t, l.Reserve(y, on(1, "br0")), taken)
	require.NoError(t, l.Reserve(y, on(1, "br2")))

	// A successor may have the same address. The former keeps it meanwhile.
	require.NoError(t, l.ReserveNext(x, on(1, "br0")))
	l.Release(x)
	require.NoError(t, l.ReserveNext(x, on(2, "br0")))
	require.EqualError(t, l.ReserveNext(y, on(1, "br0")), taken)
	l.Commit(x)
	require.NoError(t, l.ReserveNext(y, on(1, "br0")))
	l.Release(x)
	l.Commit(y)
	require.NoError(t, l.Reserve(x, on(2, "br0")))
}

// TestAddressesThatWereGivenTwice by an older daemon: both unikernels go on, and may be started
// again.
func TestAddressesThatWereGivenTwice(t *testing.T) {
	l := New()
	x, y := name(t, "a:x"), name(t, "b:y")
	l.Hold(x, on(1, "br0"))
	l.Hold(y, on(1, "br0"))
	require.NoError(t, l.ReserveNext(x, on(1, "br0")))
	l.Commit(x)
	require.ErrorContains(t, l.Reserve(name(t, "z"), on(1, "br0")), "another unikernel has it")
	l.Release(x)
	require.ErrorContains(t, l.Reserve(name(t, "z"), on(1, "br0")), "another unikernel has it")
	l.Release(y)
	require.NoError(t, l.Reserve(name(t, "z"), on(1, "br0")))
}

package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestWhatIsBeyondAMachine(t *testing.T) {
	machine := messages.Policy{Unikernels: 10, CPUIDs: []int{0, 1}, Memory: 100, Block: messages.Some(50), Bridges: []string{"br0"}}
	require.Empty(t, Beyond(machine, machine))
	require.Empty(t, Beyond(machine, messages.Policy{}))
	require.Equal(t, []string{
		"CPU 2, 3", "bridge a, br1", "11 unikernels (there may be 10)", "101 MB of memory (there are 100 MB)",
		"51 MB for block devices (there are 50 MB)",
	}, Beyond(machine, messages.Policy{
		Unikernels: 11, CPUIDs: []int{3, 0, 2, 3}, Memory: 101, Block: messages.Some(51), Bridges: []string{"br1", "br0", "a"},
	}))
	many := make([]int, 100)
	for i := range many {
		many[i] = i
	}
	require.Equal(t, []string{"CPU 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more"}, Beyond(machine, messages.Policy{CPUIDs: many}))
}

// TestTheRootFollowsTheMachine until a policy is set for it, and again when that is removed.
func TestTheRootFollowsTheMachine(t *testing.T) {
	l := New()
	require.True(t, l.HoldMachine(policy(10, 100)))
	require.False(t, l.HoldMachine(policy(10, 100)))
	x := messages.Arguments{Memory: 20, CPUIDs: []int{0, 1}, Networks: []messages.Network{{Name: "br0"}}}
	require.NoError(t, l.Reserve(name(t, "x"), x))
	l.HoldDevice(name(t, "disk"), 7)
	require.Equal(t, messages.Policy{Unikernels: 1, Memory: 20, CPUIDs: []int{0, 1}, Bridges: []string{"br0"}, Block: messages.Some(7)}, l.Demand())

	byMachine := l.Reserve(name(t, "y"), args(81))
	require.True(t, ByMachine(byMachine))
	require.EqualError(t, byMachine, "maximum allowed memory (100, used 20) would be exceeded (requesting 81)")
	require.True(t, ByMachine(l.ReserveDevice(name(t, "more"), 1)))
	require.False(t, ByMachine(l.Reserve(name(t, "x"), args(1))))

	set := policy(5, 50)
	set.Block = messages.Some(9)
	_, err := l.ProposePolicy(messages.Root, set)
	require.NoError(t, err)
	l.CommitPolicy()
	require.False(t, l.RootIsMachine())
	require.False(t, ByMachine(l.Reserve(name(t, "y"), args(81))))
	require.True(t, l.HoldMachine(policy(10, 200)))
	require.EqualError(t, l.Reserve(name(t, "y"), args(81)), "maximum allowed memory (50, used 20) would be exceeded (requesting 81)")
	l.DropPolicy(messages.Root)
	require.True(t, l.RootIsMachine())
	require.NoError(t, l.Reserve(name(t, "y"), args(81)))
	require.EqualError(t, l.Reserve(name(t, "z"), messages.Arguments{Memory: 1, Networks: []messages.Network{{Name: "br7"}, {Name: "br8"}}}),
		"interface br7 does not exist")
}

package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// stateOf is a state file with unikernels of these names.
func stateOf(t *testing.T, names ...string) []byte {
	s := wire.State{Choice: wire.StateSince27}
	for _, text := range names {
		n, err := messages.ParseName(text)
		require.NoError(t, err)
		s.Unikernels = append(s.Unikernels, messages.NamedConfig{Name: n, Config: messages.Config{
			Arguments: messages.Arguments{CPUIDs: []int{0}, CPUs: 1},
		}})
	}
	b, err := wire.AppendState(nil, s)
	require.NoError(t, err)
	return b
}

func stateNames(s wire.State) (l []string) {
	for _, u := range s.Unikernels {
		l = append(l, u.Name.String())
	}
	return l
}

// TestStateDuplicates: native dies of a file that has the same name twice, and
// does not tell a path from what is at it.
func TestStateDuplicates(t *testing.T) {
	_, err := wire.DecodeState(stateOf(t, "a:b", ":c", "a:b"))
	require.ErrorContains(t, err, `name: "a:b": it is there twice`)
	_, err = wire.DecodeState(stateOf(t, "a:b", "a:b:"))
	require.ErrorContains(t, err, `name: "a:b:": it is there twice`)
}

// TestStateOrder: unikernels come in the order of native, however they are written.
func TestStateOrder(t *testing.T) {
	want := []string{":a", "a:b", "a:b:c", "a-:c", ":b", "z:"}
	s, err := wire.DecodeState(stateOf(t, "z:", ":b", "a:b:c", "a-:c", "a:b", ":a"))
	require.NoError(t, err)
	require.Equal(t, want, stateNames(s))
}

// TestStateForm: a form that is not written any more becomes the current one.
func TestStateForm(t *testing.T) {
	for choice, want := range map[int]int{0: 6, 1: 6, 2: 6, 3: 6, 4: 4, 5: 6, 6: 6, 99: 6} {
		b, err := wire.AppendState(nil, wire.State{Choice: choice})
		require.NoError(t, err)
		s, err := wire.DecodeState(b)
		require.NoError(t, err)
		require.Equal(t, want, s.Choice)
	}
}

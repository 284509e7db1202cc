package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// stateOf returns a state file with unikernels of these names.
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

// TestStateDuplicates: native ends with an error on a file that has the same name twice. To native
// a path and the unikernel of that name are the same.
func TestStateDuplicates(t *testing.T) {
	_, err := wire.DecodeState(stateOf(t, "a:b", ":c", "a:b"))
	require.ErrorContains(t, err, `name: "a:b": it is there twice`)
	_, err = wire.DecodeState(stateOf(t, "a:b", "a:b:"))
	require.ErrorContains(t, err, `name: "a:b:": it is there twice`)
}

// TestStateOrder: unikernels come in the order of native, in whichever order they are written.
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

// TestOldestState: a state that 2.5 can express has its form, and nothing is left out.
func TestOldestState(t *testing.T) {
	old := messages.Config{Image: []byte("image"), Arguments: messages.Arguments{
		AddName: true, CPUIDs: []int{3}, CPUs: 1, Memory: 32,
		Fail:     messages.FailBehaviour{Restart: true},
		Blocks:   []messages.BlockDevice{{Name: "a", Device: messages.Some("b"), SectorSize: messages.Some(512)}},
		Networks: []messages.Network{{Name: "a", Bridge: messages.Some("b"), MAC: messages.Some(messages.MAC{1})}},
		Argv:     messages.Some([]string{"x"}),
	}}
	choice := func(change func(*messages.Config)) int {
		c := old
		change(&c)
		name := func(l messages.Label) messages.Name { return messages.Name{Label: l} }
		list := []messages.NamedConfig{{Name: name("a"), Config: old}, {Name: name("b"), Config: c}, {Name: name("c"), Config: old}}
		s := wire.OldestState(list, []messages.NamedPolicy{{}})
		b, err := wire.AppendState(nil, s)
		require.NoError(t, err)
		again, err := wire.DecodeState(b)
		require.NoError(t, err)
		require.Equal(t, s, again)
		return s.Choice
	}
	require.Equal(t, wire.StateUntil25, choice(func(*messages.Config) {}))
	for name, change := range map[string]func(*messages.Config){
		"startup":    func(c *messages.Config) { c.Startup = messages.Some(50) },
		"add name":   func(c *messages.Config) { c.AddName = false },
		"two CPUs":   func(c *messages.Config) { c.CPUIDs = []int{0, 1} },
		"no CPU":     func(c *messages.Config) { c.CPUIDs = nil },
		"CPUs":       func(c *messages.Config) { c.CPUs = 2 },
		"linux boot": func(c *messages.Config) { c.LinuxBoot = messages.Some("x") },
		"bhyve":      func(c *messages.Config) { c.Type = messages.BHyve },
	} {
		require.Equal(t, wire.StateSince27, choice(change), name)
	}
	require.Equal(t, wire.StateUntil25, wire.OldestState(nil, nil).Choice)
}

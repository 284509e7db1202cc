package ledger

import (
	"flag"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
)

// TestNothingIsEverExceeded does whatever a host can do, in any order, beside a second and simpler
// bookkeeping, and compares both.
func TestNothingIsEverExceeded(t *testing.T) {
	require.NoError(t, flag.Set("rapid.checks", "3000")) // each takes 0.1 ms
	rapid.Check(t, func(t *rapid.T) {
		m := model{
			ledger: New(), t: t, running: map[messages.Name][]messages.Arguments{},
			policies: map[messages.Path]messages.Policy{}, devices: map[messages.Name]int{}, busy: map[messages.Name]bool{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"create":    m.create,
			"replace":   m.replace,
			"commit":    m.commit,
			"exit":      m.exit,
			"rename":    m.rename,
			"propose":   m.propose,
			"decide":    m.decide,
			"drop":      m.drop,
			"add disk":  m.addDisk,
			"take disk": m.takeDisk,
			"free disk": m.freeDisk,
			"":          m.check,
		})
	})
}

// A model holds what has been allowed, and nothing else.
type model struct {
	t        *rapid.T
	ledger   *Ledger
	running  map[messages.Name][]messages.Arguments // and those of the successor, if there is one
	policies map[messages.Path]messages.Policy
	proposed messages.Option[proposal]
	devices  map[messages.Name]int
	busy     map[messages.Name]bool
}

var (
	somePaths  = []messages.Path{"", "a", "a:b", "d"}
	someLabels = []messages.Label{"x", "y"}
)

func drawName(t *rapid.T) messages.Name {
	return messages.Name{
		Path:  rapid.SampledFrom(somePaths).Draw(t, "path"),
		Label: rapid.SampledFrom(someLabels).Draw(t, "label"),
	}
}

func drawArguments(t *rapid.T) messages.Arguments {
	a := messages.Arguments{
		Memory: rapid.IntRange(-10, 120).Draw(t, "memory"),
		CPUIDs: rapid.SliceOfN(rapid.IntRange(0, 2), 1, 2).Draw(t, "CPUs"),
	}
	for _, label := range rapid.SliceOfN(rapid.SampledFrom(someLabels), 0, 2).Draw(t, "disks") {
		a.Blocks = append(a.Blocks, messages.BlockDevice{Name: string(label)})
	}
	for _, bridge := range rapid.SliceOfN(rapid.SampledFrom([]string{"br0", "br1", "br2"}), 0, 1).Draw(t, "bridges") {
		a.Networks = append(a.Networks, messages.Network{Name: bridge, MAC: messages.Some(messages.MAC{2})})
	}
	return a
}

func (m *model) rename(t *rapid.T) {
	from, to := drawName(t), drawName(t)
	args := m.running[from]
	if len(args) == 1 && m.ledger.Rename(from, to, args[0]) == nil {
		delete(m.running, from)
		m.running[to] = args
	}
}

func (m *model) create(t *rapid.T) {
	if n, a := drawName(t), drawArguments(t); m.ledger.Reserve(n, a) == nil {
		m.running[n] = []messages.Arguments{a}
	}
}

func (m *model) replace(t *rapid.T) {
	if n, a := drawName(t), drawArguments(t); m.ledger.ReserveNext(n, a) == nil {
		m.running[n] = append(m.running[n], a)
	}
}

func (m *model) commit(t *rapid.T) {
	n := drawName(t)
	m.ledger.Commit(n)
	if len(m.running[n]) == 2 {
		m.running[n] = m.running[n][1:]
	}
}

func (m *model) exit(t *rapid.T) {
	n := drawName(t)
	m.ledger.Release(n)
	if list := m.running[n]; len(list) > 1 {
		m.running[n] = list[:1]
	} else {
		delete(m.running, n)
	}
}

func (m *model) propose(t *rapid.T) {
	path := rapid.SampledFrom(somePaths).Draw(t, "path")
	p := messages.Policy{
		Unikernels: rapid.IntRange(0, 4).Draw(t, "unikernels"),
		Memory:     rapid.IntRange(15, 200).Draw(t, "memory"),
		CPUIDs:     rapid.SliceOfN(rapid.IntRange(0, 2), 0, 3).Draw(t, "CPUs"),
		Bridges:    rapid.SliceOfN(rapid.SampledFrom([]string{"br0", "br1", "br2"}), 0, 3).Draw(t, "bridges"),
	}
	if rapid.Bool().Draw(t, "has block") {
		p.Block = messages.Some(rapid.IntRange(-1, 40).Draw(t, "block"))
	}
	if changes, err := m.ledger.ProposePolicy(path, p); err == nil && changes {
		m.proposed = messages.Some(proposal{path, p})
	}
}

func (m *model) decide(t *rapid.T) {
	switch {
	case !m.proposed.OK:
		return
	case rapid.Bool().Draw(t, "it is on disk"):
		m.ledger.CommitPolicy()
		m.policies[m.proposed.Value.path] = m.proposed.Value.policy
	default:
		m.ledger.WithdrawPolicy()
	}
	m.proposed = messages.Option[proposal]{}
}

func (m *model) drop(t *rapid.T) {
	path := rapid.SampledFrom(somePaths).Draw(t, "path")
	m.ledger.DropPolicy(path)
	delete(m.policies, path)
}

func (m *model) addDisk(t *rapid.T) {
	n, size := drawName(t), rapid.IntRange(-1, 30).Draw(t, "size")
	if m.ledger.ReserveDevice(n, size) != nil {
		return
	}
	m.devices[n], m.busy[n] = size, true
	if rapid.Bool().Draw(t, "it is made at once") {
		m.ledger.FreeDevice(n)
		delete(m.busy, n)
	}
}

func (m *model) takeDisk(t *rapid.T) {
	n := drawName(t)
	if _, err := m.ledger.TakeDevice(n, "set block"); err == nil {
		require.False(t, m.busy[n], "one at a time")
		m.busy[n] = true
	}
}

func (m *model) freeDisk(t *rapid.T) {
	n := drawName(t)
	switch {
	case !m.busy[n]:
		return
	case rapid.Bool().Draw(t, "it is removed"):
		m.ledger.DropDevice(n)
		delete(m.devices, n)
	default:
		m.ledger.FreeDevice(n)
	}
	delete(m.busy, n)
}

// check compares the ledger with the model.
func (m *model) check(t *rapid.T) {
	for path, p := range m.policies {
		m.checkPolicy(t, path, p)
	}
	if m.proposed.OK {
		m.checkPolicy(t, m.proposed.Value.path, m.proposed.Value.policy)
	}
	for _, path := range somePaths {
		require.Equal(t, m.used(path), m.ledger.used[path])
	}
	m.checkDevices(t)
	m.checkStations(t)
}

func (m *model) checkStations(t *rapid.T) {
	has := map[messages.Station]messages.Name{}
	count := 0
	for n, list := range m.running {
		for _, a := range list {
			for _, s := range Stations(n, a) {
				if other, taken := has[s]; taken {
					require.Equal(t, other, n, "one unikernel, or the one that replaces it")
				}
				has[s] = n
				count++
			}
		}
	}
	for _, names := range m.ledger.stations {
		require.NotEmpty(t, names)
		count -= len(names)
	}
	require.Zero(t, count)
}

func (m *model) used(path messages.Path) (u usage) {
	for n, list := range m.running {
		if path.Contains(n.Path) {
			u.unikernels++
			u.memory += slices.MaxFunc(list, func(a, b messages.Arguments) int { return a.Memory - b.Memory }).Memory
		}
	}
	for n, size := range m.devices {
		if path.Contains(n.Path) {
			u.block += size
		}
	}
	return u
}

func (m *model) checkPolicy(t *rapid.T, path messages.Path, p messages.Policy) {
	u := m.used(path)
	require.LessOrEqual(t, u.unikernels, p.Unikernels)
	require.LessOrEqual(t, u.memory, p.Memory)
	require.LessOrEqual(t, u.block, p.Block.Or(0))
	for n, list := range m.running {
		if !path.Contains(n.Path) {
			continue
		}
		for _, a := range list {
			require.Subset(t, p.CPUIDs, a.CPUIDs)
			require.Subset(t, append(p.Bridges, ""), append(Bridges(a), ""))
		}
	}
	for below, sub := range m.policies {
		if path != messages.Root && path != below && path.Contains(below) {
			require.NoError(t, smaller(normal(p), normal(sub)))
		}
	}
}

func (m *model) checkDevices(t *rapid.T) {
	users := map[messages.Name]messages.Name{}
	for n, list := range m.running {
		for _, a := range list {
			for i, d := range Devices(n, a) {
				require.NotContains(t, Devices(n, a)[:i], d, "once in one unikernel")
				require.Contains(t, m.devices, d)
				require.False(t, m.busy[d], "it is being changed")
				if user, used := users[d]; used {
					require.Equal(t, user, n, "one unikernel, or the one that replaces it")
				}
				users[d] = n
			}
		}
	}
	var list []messages.NamedBlock
	for n, size := range m.devices {
		_, used := users[n]
		list = append(list, messages.NamedBlock{Name: n, Size: size, Active: used || m.busy[n]})
	}
	require.ElementsMatch(t, list, m.ledger.Blocks(messages.Name{}))
}

package ledger

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
)

func name(t require.TestingT, s string) messages.Name {
	n, err := messages.ParseName(s)
	require.NoError(t, err)
	return n
}

func args(memory int) messages.Arguments {
	return messages.Arguments{Memory: memory, CPUIDs: []int{0}}
}

func policy(unikernels, memory int) messages.Policy {
	return messages.Policy{Unikernels: unikernels, Memory: memory, CPUIDs: []int{0, 1}, Bridges: []string{"br0", "br1"}}
}

func TestReserveIsLimitedByEveryPolicyAbove(t *testing.T) {
	for title, tc := range map[string]struct {
		policies map[messages.Path]messages.Policy
		running  []string // with 40 MB each
		name     string
		args     messages.Arguments
		refusal  string
	}{
		"no policy":             {nil, nil, ":x", args(1 << 40), ""},
		"exactly what there is": {map[messages.Path]messages.Policy{"a": policy(2, 100)}, []string{"a:one"}, "a:two", args(60), ""},
		"count":                 {map[messages.Path]messages.Policy{"a": policy(1, 100)}, []string{"a:one"}, "a:two", args(1), "maximum amount of unikernels (1) reached"},
		"count below":           {map[messages.Path]messages.Policy{"a": policy(1, 100)}, []string{"a:b:one"}, "a:two", args(1), "maximum amount of unikernels (1) reached"},
		"memory":                {map[messages.Path]messages.Policy{"a": policy(2, 100)}, []string{"a:one"}, "a:two", args(61), "maximum allowed memory (100, used 40) would be exceeded (requesting 61)"},
		"memory of an ancestor": {
			map[messages.Path]messages.Policy{"a": policy(9, 64), "a:b": policy(9, 64)}, []string{"a:one"},
			"a:b:two", args(32), "maximum allowed memory (64, used 40) would be exceeded (requesting 32)",
		},
		"memory of the root":   {map[messages.Path]messages.Policy{"": policy(9, 64)}, nil, "a:b:two", args(65), "maximum allowed memory (64, used 0) would be exceeded (requesting 65)"},
		"a sum that overflows": {map[messages.Path]messages.Policy{"": policy(9, 64)}, []string{":one"}, ":two", args(messages.MaxInt), "maximum allowed memory (64, used 40) would be exceeded (requesting 4611686018427387903)"},
		"negative memory":      {nil, nil, ":x", args(-1), "cannot run with -1 MB of memory"},
		"CPUs": {
			map[messages.Path]messages.Policy{"a": policy(9, 64)}, nil, "a:b:x",
			messages.Arguments{Memory: 1, CPUIDs: []int{0, 9, 8}}, "CPUids 8, 9 are not allowed by policy",
		},
		"bridges": {
			map[messages.Path]messages.Policy{"a": policy(9, 64)}, nil, "a:x",
			messages.Arguments{Memory: 1, CPUIDs: []int{0}, Networks: []messages.Network{
				{Name: "b", Bridge: messages.Some("y")}, {Name: "br0"}, {Name: "x"}}},
			"bridges y, x not allowed by policy",
		},
		"a name elsewhere that looks like the path": {map[messages.Path]messages.Policy{"a": policy(1, 100)}, []string{"ab:one"}, "a:two", args(1), ""},
		"the same name": {nil, []string{"a:one"}, "a:one", args(1), "Unikernel with same name is already running"},
		"no such device": {nil, nil, "a:x",
			messages.Arguments{Memory: 1, Blocks: []messages.BlockDevice{{Name: "storage"}}}, "block device a:storage not found"},
	} {
		t.Run(title, func(t *testing.T) {
			l := New()
			for path, p := range tc.policies {
				l.SetPolicy(path, p)
			}
			for _, r := range tc.running {
				l.Hold(name(t, r), args(40))
			}
			err := l.Reserve(name(t, tc.name), tc.args)
			if tc.refusal == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.refusal)
		})
	}
}

func TestADeviceIsUsedOnce(t *testing.T) {
	l := New()
	l.AddDevice(name(t, "a:disk"))
	using := func(labels ...string) messages.Arguments {
		a := args(1)
		for _, label := range labels {
			a.Blocks = append(a.Blocks, messages.BlockDevice{Name: label, Device: messages.Some("disk")})
		}
		return a
	}
	require.EqualError(t, l.Reserve(name(t, "a:x"), using("one", "two")), "block device a:disk already in use")
	require.NoError(t, l.Reserve(name(t, "a:x"), using("storage")))
	require.EqualError(t, l.Reserve(name(t, "a:y"), using("storage")), "block device a:disk already in use")
	require.EqualError(t, l.Reserve(name(t, "b:y"), using("storage")), "block device b:disk not found")
	require.NoError(t, l.ReserveNext(name(t, "a:x"), using("storage")), "its successor may have it")
	l.Release(name(t, "a:x"))
	require.EqualError(t, l.Reserve(name(t, "a:y"), using("storage")), "block device a:disk already in use")
	l.Release(name(t, "a:x"))
	require.NoError(t, l.Reserve(name(t, "a:y"), using("storage")))
}

func TestASuccessorIsCountedWithoutTheOldOne(t *testing.T) {
	l := New()
	l.SetPolicy("a", policy(1, 100))
	x := name(t, "a:x")
	require.NoError(t, l.Reserve(x, args(80)))
	require.EqualError(t, l.ReserveNext(x, args(101)),
		"maximum allowed memory (100, used 0) would be exceeded (requesting 101)")
	require.NoError(t, l.ReserveNext(x, args(100)))
	require.ErrorContains(t, l.ReserveNext(x, args(1)), "internal error")
	require.Equal(t, usage{1, 100}, l.used["a"], "both fit, one at a time")
	l.Release(x)
	require.Equal(t, usage{1, 80}, l.used["a"])
	require.NoError(t, l.ReserveNext(x, args(10)))
	l.Commit(x)
	require.Equal(t, usage{1, 10}, l.used["a"])
}

func TestPoliciesAreToldRelativeToThePath(t *testing.T) {
	l := New()
	for _, path := range []messages.Path{"", "a", "a:b", "a:c", "ab"} {
		l.SetPolicy(path, policy(1, 100))
	}
	names := func(query string) []string {
		var list []string
		for _, p := range l.Policies(name(t, query)) {
			list = append(list, p.Name.String())
		}
		return list
	}
	require.Equal(t, []string{":", "ab:", "a:", "a:c:", "a:b:"}, names(":"))
	require.Equal(t, []string{":", "c:", "b:"}, names("a:"))
	require.Equal(t, []string{":", "c:", "b:"}, names("a:label"))
	require.Empty(t, names("nobody:"))
}

// TestNoPolicyIsEverExceeded does whatever comes, in any order, and compares
// with a count from scratch.
func TestNoPolicyIsEverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New()
		paths := []messages.Path{"", "a", "a:b", "a:b:c", "d"}
		for _, path := range paths {
			if rapid.Bool().Draw(t, "has policy") {
				l.SetPolicy(path, policy(rapid.IntRange(0, 4).Draw(t, "unikernels"), rapid.IntRange(0, 200).Draw(t, "memory")))
			}
		}
		disk := name(t, "a:disk")
		l.AddDevice(disk)
		draw := func() (messages.Name, messages.Arguments) {
			a := args(rapid.IntRange(-10, 120).Draw(t, "memory"))
			if rapid.Bool().Draw(t, "with disk") {
				a.Blocks = []messages.BlockDevice{{Name: "disk"}}
			}
			label := messages.Label(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "label"))
			return messages.Name{Path: rapid.SampledFrom(paths).Draw(t, "path"), Label: label}, a
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(*rapid.T) { _ = l.Reserve(draw()) },
			"next": func(*rapid.T) {
				if n, a := draw(); l.Holds(n) {
					_ = l.ReserveNext(n, a)
				}
			},
			"commit":  func(*rapid.T) { n, _ := draw(); l.Commit(n) },
			"release": func(*rapid.T) { n, _ := draw(); l.Release(n) },
			"":        func(*rapid.T) { requireWithinLimits(t, l, paths, disk) },
		})
	})
}

func requireWithinLimits(t *rapid.T, l *Ledger, paths []messages.Path, disk messages.Name) {
	var users []messages.Name
	for n, c := range l.claims {
		if slices.Contains(Devices(n, c.now), disk) || slices.Contains(Devices(n, c.next.Value), disk) {
			users = append(users, n)
		}
	}
	require.LessOrEqual(t, len(users), 1)
	require.Equal(t, len(users) == 1, l.devices[disk] != messages.Name{})
	for _, path := range paths {
		var u usage
		for n, c := range l.claims {
			if path.Contains(n.Path) {
				u.unikernels++
				u.memory += max(c.now.Memory, c.next.Value.Memory)
			}
		}
		require.Equal(t, u, l.used[path])
		if p, ok := l.policies[path]; ok {
			require.LessOrEqual(t, u.unikernels, p.Unikernels)
			require.LessOrEqual(t, u.memory, p.Memory)
		}
	}
}

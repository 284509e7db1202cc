package ledger

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

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
		running  []string // each with 40 MB
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
				l.HoldPolicy(path, p)
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

// TestARenameIsLimitedByThePoliciesOfTheNewName: what is promised under the former one is free then, and
// stays if the rename is refused.
func TestARenameIsLimitedByThePoliciesOfTheNewName(t *testing.T) {
	l := New()
	l.HoldPolicy("", policy(2, 100))
	l.HoldPolicy("a", policy(1, 64))
	l.HoldPolicy("b", policy(1, 32))
	one, two := name(t, "a:one"), name(t, "b:two")
	require.NoError(t, l.Reserve(one, args(64)))
	require.NoError(t, l.Reserve(two, args(32)))
	require.EqualError(t, l.Rename(one, name(t, "b:one"), args(64)), "maximum amount of unikernels (1) reached")
	require.True(t, l.Holds(one))
	require.NoError(t, l.Rename(one, name(t, "a:other"), args(64)), "it is counted once")
	require.False(t, l.Holds(one))
	require.EqualError(t, l.Reserve(one, args(1)), "maximum amount of unikernels (1) reached")
	l.Release(two)
	require.EqualError(t, l.Rename(name(t, "a:other"), two, args(64)), "maximum allowed memory (32, used 0) would be exceeded (requesting 64)")
	require.NoError(t, l.Rename(name(t, "a:other"), name(t, ":free"), args(64)))
	require.NoError(t, l.Reserve(one, args(36)))
}

func TestADeviceIsUsedOnce(t *testing.T) {
	l := New()
	l.HoldDevice(name(t, "a:disk"), 10)
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

// TestADeviceBelowThePath: an argument names the device by the rest of its path. The same device
// may have a user at its own path. An argument finds no other devices that way.
func TestADeviceBelowThePath(t *testing.T) {
	l := New()
	for _, n := range []string{"disk", "a:disk", "a:b:disk", "c:disk"} {
		l.HoldDevice(name(t, n), 10)
	}
	using := func(device string) messages.Arguments {
		a := args(1)
		a.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some(device)}}
		return a
	}
	require.NoError(t, l.Reserve(name(t, "a:b:x"), using("disk")))
	require.EqualError(t, l.Reserve(name(t, "a:y"), using("b:disk")), "block device a:b:disk already in use")
	require.EqualError(t, l.Reserve(name(t, ":y"), using("a:B:disk")), "block device a:b:disk already in use")
	l.Release(name(t, "a:b:x"))
	require.NoError(t, l.Reserve(name(t, ":y"), using("a:b:DISK")))
	require.EqualError(t, l.Reserve(name(t, "a:b:x"), using("disk")), "block device a:b:disk already in use")
	for _, device := range []string{"", ":", ":disk", "::disk", "b:", "b::disk", "..:c:disk", "../c:disk", "c:disk", "a:disk", "a:b:disk", "b:disk:"} {
		require.ErrorContains(t, l.Reserve(name(t, "a:z"), using(device)), "not found", device)
	}
}

func TestASuccessorIsCountedWithoutTheOldOne(t *testing.T) {
	l := New()
	l.HoldPolicy("a", policy(1, 100))
	x := name(t, "a:x")
	require.NoError(t, l.Reserve(x, args(80)))
	require.EqualError(t, l.ReserveNext(x, args(101)),
		"maximum allowed memory (100, used 0) would be exceeded (requesting 101)")
	require.NoError(t, l.ReserveNext(x, args(100)))
	require.ErrorContains(t, l.ReserveNext(x, args(1)), "internal error")
	require.Equal(t, usage{unikernels: 1, memory: 100}, l.used["a"], "both fit, one at a time")
	l.Release(x)
	require.Equal(t, usage{unikernels: 1, memory: 80}, l.used["a"])
	require.NoError(t, l.ReserveNext(x, args(10)))
	l.Commit(x)
	require.Equal(t, usage{unikernels: 1, memory: 10}, l.used["a"])
}

func TestPoliciesAreToldRelativeToThePath(t *testing.T) {
	l := New()
	for _, path := range []messages.Path{"", "a", "a:b", "a:c", "ab"} {
		l.HoldPolicy(path, policy(1, 100))
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

// Native albatross makes block devices whose name is a path.
func TestBlockDevicesAreToldRelativeToThePath(t *testing.T) {
	l := New()
	for _, device := range []string{":", ":disk", "a:", "a:b:disk", "ab:disk"} {
		l.HoldDevice(name(t, device), 1)
	}
	names := func(query string) []string {
		var list []string
		for _, b := range l.Blocks(name(t, query)) {
			list = append(list, b.Name.String())
		}
		return list
	}
	require.Equal(t, []string{":", ":disk", "ab:disk", "a:", "a:b:disk"}, names(":"))
	require.Equal(t, []string{":", "b:disk"}, names("a:"))
	require.Equal(t, []string{"a:b:disk"}, names("a:b:disk"))
	require.Empty(t, names("nobody:"))
}

// TestPoliciesBelowAPathAreBounded: the policy of the path limits them, by what it allows to run,
// at every path above.
func TestPoliciesBelowAPathAreBounded(t *testing.T) {
	const possible = 2 + 16
	l := New()
	policy := messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64}
	put := func(path string) error {
		_, err := l.ProposePolicy(messages.Path(path), policy)
		if err == nil {
			l.CommitPolicy()
		}
		return err
	}
	require.NoError(t, put("alice"))
	require.NoError(t, put("alice:below"))
	for i := range possible - 1 {
		require.NoError(t, put(fmt.Sprintf("alice:below:x%d", i)))
	}
	const want = "cannot add a policy: there are 18 below alice, whose own allows 2 unikernels, and no more are possible: remove one"
	require.EqualError(t, put("alice:below:more"), want)
	require.EqualError(t, put("alice:more"), want)
	require.NoError(t, put("bob")) // other paths are not affected
	l.DropPolicy("alice:below:x3")
	require.NoError(t, put("alice:more"))
	policy.Memory-- // a policy that exists can still be changed
	require.NoError(t, put("alice:more"))
}

package main

import (
	"crypto"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// authorityWith returns an authority below a root, with these policies above each other.
func authorityWith(t require.TestingT, policies ...messages.Policy) *certificate.Authority {
	a, err := certificate.NewRoot("root", newKey(t), time.Now(), time.Hour)
	require.NoError(t, err)
	for _, p := range policies {
		key := newKey(t)
		chain, err := a.Issue(certificate.Request{Name: "x", Command: messages.PolicyAdd{Policy: p}, Key: key.Public()}, time.Now(), time.Hour)
		require.NoError(t, err)
		a, err = certificate.NewAuthority(chain, key)
		require.NoError(t, err)
	}
	return a
}

func newKey(t require.TestingT) crypto.Signer {
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	return key
}

func drawPolicy(t *rapid.T, label string) messages.Policy {
	p := messages.Policy{
		Unikernels: rapid.IntRange(1, 3).Draw(t, label+" unikernels"),
		Memory:     rapid.SampledFrom([]int{17, 32, 64}).Draw(t, label+" memory"),
		CPUIDs:     rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 3, rapid.ID).Draw(t, label+" CPUs"),
		Bridges:    rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b"}), 0, 2, rapid.ID).Draw(t, label+" bridges"),
	}
	if rapid.Bool().Draw(t, label+" has block") {
		p.Block = messages.Some(rapid.IntRange(0, 2).Draw(t, label+" block"))
	}
	return p
}

// within reports whether a policy stays within another one.
func within(sub, super messages.Policy) bool {
	return sub.Unikernels <= super.Unikernels && sub.Memory <= super.Memory &&
		subset(sub.CPUIDs, super.CPUIDs) && subset(sub.Bridges, super.Bridges) &&
		(!sub.Block.OK || super.Block.OK && sub.Block.Value <= super.Block.Value)
}

func subset[T comparable](sub, super []T) bool {
	return !slices.ContainsFunc(sub, func(v T) bool { return !slices.Contains(super, v) })
}

// TestAChildIsNeverLargerThanAnyParent, however deep it is.
func TestAChildIsNeverLargerThanAnyParent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		above := make([]messages.Policy, rapid.IntRange(0, 3).Draw(t, "depth"))
		for i := range above {
			above[i] = drawPolicy(t, "above")
		}
		child := drawPolicy(t, "child")
		fits := !slices.ContainsFunc(above, func(p messages.Policy) bool { return !within(child, p) })
		err := judge(authorityWith(t, above...).Chain, messages.Name{Label: "child"}, messages.PolicyAdd{Policy: child})
		require.Equal(t, fits, err == nil, "%v below %v: %v", child, above, err)
	})
}

// TestAUnikernelIsWithinThePolicies above it.
func TestAUnikernelIsWithinThePolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, "policy")
		args := messages.Arguments{
			Memory: rapid.SampledFrom([]int{16, 32, 64, 65}).Draw(t, "memory"),
			CPUIDs: rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 1, 3, rapid.ID).Draw(t, "CPUs"),
			Blocks: []messages.BlockDevice{{Name: "unknown here"}},
		}
		for _, b := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2, rapid.ID).Draw(t, "bridges") {
			args.Networks = append(args.Networks, messages.Network{Name: "net" + b, Bridge: messages.Some(b)})
		}
		bridges := make([]string, len(args.Networks))
		for i, n := range args.Networks {
			bridges[i] = n.Bridge.Value
		}
		fits := args.Memory <= policy.Memory && subset(args.CPUIDs, policy.CPUIDs) && subset(bridges, policy.Bridges)
		chain := authorityWith(t, policy).Chain
		for _, command := range []messages.Command{
			messages.UnikernelCreate{Form: 3, Config: messages.Config{Arguments: args}},
			messages.UnikernelRestart{Form: messages.RestartArgs0, Args: messages.Some(args)},
		} {
			err := judge(chain, messages.Name{Label: "hello"}, command)
			require.Equal(t, fits, err == nil, "%v with %v: %v", args, policy, err)
		}
		require.NoError(t, judge(chain, messages.Name{Label: "hello"}, messages.UnikernelRestart{Form: messages.RestartSame}))
	})
}

func TestPoliciesThatNothingCouldRunWith(t *testing.T) {
	chain := authorityWith(t).Chain
	require.ErrorContains(t, judge(chain, messages.Name{Label: "x"}, messages.PolicyAdd{Policy: messages.Policy{Unikernels: 1, Memory: 16, CPUIDs: []int{0}}}), "Unusable policy")
}

func TestWhatMayBeSigned(t *testing.T) {
	chain := authorityWith(t).Chain
	policy := messages.PolicyAdd{Policy: messages.Policy{Unikernels: 1, Memory: 64, CPUIDs: []int{0}}}
	for _, c := range []struct {
		name    string
		command messages.Command
		want    string // the error
	}{
		{"alice", policy, ""},
		{"Alice", policy, ""},
		{".", policy, ""}, // the name is a label, too
		{"", policy, "'' is not the name of a policy"},
		{":", policy, "is not the name of a policy"},
		{"a:b", policy, "is not the name of a policy"},
		{"../x", policy, "is not the name of a policy"},
		{"hello", messages.UnikernelDestroy{}, ""},
		{".", messages.UnikernelInfo{Form: 4}, ""},
		{"", messages.UnikernelInfo{Form: 4}, ""},
		{":", messages.UnikernelInfo{Form: 4}, ""},
		{"../../etc/passwd", messages.UnikernelDestroy{}, "is not a name"},
		{"a\x1b[31m", messages.UnikernelDestroy{}, `'a\027[31m' is not a name`},
		{".", messages.BlockAdd{Size: 1}, "create-block needs a name"},
		{"x", messages.PolicyRemove{}, "not allowed"},
		{"x", messages.StatsAdd{}, "not allowed"},
		{"x", messages.ConsoleAdd{}, "not allowed"},
	} {
		err := mayBeSigned(chain, certificate.Request{Name: c.name, Command: c.command})
		if c.want == "" {
			require.NoError(t, err, "%q %T", c.name, c.command)
		} else {
			require.ErrorContains(t, err, c.want, "%q %T", c.name, c.command)
		}
	}
}

// TestNamesOfFiles: whatever name is requested, no file of another directory is written.
func TestNamesOfFiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[./:a-z]{0,5}`)).Draw(t, "name")
		request := certificate.Request{Name: name, Command: messages.UnikernelInfo{Form: 4}}
		if mayBeSigned(authorityWith(t).Chain, request) == nil {
			file := fileName(request, "somewhere/info.req")
			require.NotContains(t, file, "/")
			require.NotEmpty(t, file)
		}
	})
	require.Equal(t, "info", fileName(certificate.Request{Name: "."}, "somewhere/info.req"))
	require.Equal(t, "hello", fileName(certificate.Request{Name: "Hello"}, "x.req"))
}

func TestAnAuthorityWithAnOddChain(t *testing.T) {
	root := authorityWith(t)
	key := newKey(t)
	issued := func(name string, command messages.Command) certificate.Chain {
		chain, err := root.Issue(certificate.Request{Name: name, Command: command, Key: key.Public()}, time.Now(), time.Hour)
		require.NoError(t, err)
		return chain
	}
	for want, chain := range map[string]certificate.Chain{
		"it has another command than a policy": issued("x", messages.PolicyInfo{}),
		`"a b": invalid label`:                 issued("a b", messages.PolicyAdd{}),
	} {
		require.ErrorContains(t, judge(chain, messages.Name{Label: "x"}, messages.PolicyInfo{}), want)
	}
}

package seccomp

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"albatross/test/bpf"
)

// allowed is what the rules mean, said without BPF.
func allowed(rules []Rule, c bpf.Call) bool {
	if c.Architecture != Architecture {
		return false
	}
	for _, r := range rules {
		holds := r.call == c.Number
		for _, condition := range r.conditions {
			holds = holds && condition.holds(c.Arguments[condition.argument])
		}
		if holds {
			return true
		}
	}
	return false
}

func (c Condition) holds(v uint64) bool {
	switch c.compare {
	case atMost:
		return v <= c.value
	case noneOf:
		return v&c.value == 0
	default:
		return v == c.value
	}
}

// drawValue draws both halves, since most numbers that rapid draws are small.
func drawValue(t *rapid.T, label string) uint64 {
	return rapid.Uint64().Draw(t, label) ^ rapid.Uint64().Draw(t, label)<<32
}

// drawRules draws as many rules as a guest with all devices has, a few of them for the
// same call.
func drawRules(t *rapid.T) []Rule {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule {
		conditions := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Condition {
			return Condition{
				argument: rapid.IntRange(0, 5).Draw(t, "argument"),
				compare:  rapid.SampledFrom([]comparison{equal, atMost, noneOf}).Draw(t, "comparison"),
				value:    drawValue(t, "value"),
			}
		}), 0, 3).Draw(t, "conditions")
		return Allow(rapid.Uint32Range(0, 50).Draw(t, "call"), conditions...)
	}), 1, 130).Draw(t, "rules")
}

// drawCall draws a call that is allowed, or nearly: random ones hardly ever
// touch a boundary.
func drawCall(t *rapid.T, rules []Rule) bpf.Call {
	r := rapid.SampledFrom(rules).Draw(t, "rule")
	c := bpf.Call{Number: r.call, Architecture: Architecture}
	for i := range c.Arguments {
		c.Arguments[i] = drawValue(t, "argument")
	}
	for _, condition := range r.conditions {
		off := rapid.SampledFrom([]uint64{0, 0, 0, 1, ^uint64(0), 1 << 32, 0xffffffff << 32}).Draw(t, "off")
		if condition.compare == noneOf {
			c.Arguments[condition.argument] &= ^condition.value | off
		} else {
			c.Arguments[condition.argument] = condition.value + off
		}
	}
	switch rapid.IntRange(0, 9).Draw(t, "twist") {
	case 0:
		c.Architecture = rapid.SampledFrom([]uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, 0}).Draw(t, "architecture")
	case 1:
		c.Number |= otherTable
	case 2:
		c.Number = rapid.Uint32Range(0, 500).Draw(t, "number")
	}
	return c
}

func TestFilterMeansTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		filter := Compile(rules)
		require.LessOrEqual(t, len(filter), 4096, "the kernel takes no more")
		for range 20 {
			c := drawCall(t, rules)
			want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
			if allowed(rules, c) {
				want = unix.SECCOMP_RET_ALLOW
			}
			require.Equal(t, want, bpf.Judge(filter, c), "%+v", c)
		}
	})
}

package ledger

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/vectors"
)

// The questions of the vectors, and the answers of native albatross 2.7.2.
type (
	vector struct {
		ID         string
		Op         string
		Super, Sub *vectorPolicy
		Policy     *vectorPolicy
		Setup      []step
		Query      *step
		Results    map[string]string
	}
	vectorPolicy struct {
		Unikernels, Memory int
		CPUIDs             []int
		Block              *int
		Bridges            []string
	}
	step struct {
		Do, Name, Path, What string
		Size                 int
		Policy               *vectorPolicy
		Config               *vectorConfig
	}
	vectorConfig struct {
		CPUIDs []int
		Memory int
		Blocks []struct {
			Name   string
			Device *string
		}
		Bridges []struct {
			Name   string
			Bridge *string
		}
	}
)

func (v vectorPolicy) policy() messages.Policy {
	policy := messages.Policy{Unikernels: v.Unikernels, CPUIDs: v.CPUIDs, Memory: v.Memory, Bridges: v.Bridges}
	if v.Block != nil {
		policy.Block = messages.Some(*v.Block)
	}
	return policy
}

func (v vectorConfig) arguments() messages.Arguments {
	a := messages.Arguments{CPUIDs: v.CPUIDs, Memory: v.Memory}
	for _, b := range v.Blocks {
		a.Blocks = append(a.Blocks, messages.BlockDevice{Name: b.Name, Device: option(b.Device)})
	}
	for _, n := range v.Bridges {
		a.Networks = append(a.Networks, messages.Network{Name: n.Name, Bridge: option(n.Bridge)})
	}
	return a
}

func option(s *string) (o messages.Option[string]) {
	if s != nil {
		o = messages.Some(*s)
	}
	return o
}

func (s step) name(t *testing.T) messages.Name {
	if s.Name != "" {
		return name(t, s.Name)
	}
	return name(t, s.Path)
}

// differences are the answers that differ from the native ones on purpose.
var differences = map[string]string{
	// The limits of every ancestor apply, not only those of the path itself.
	"policy-create-parent-policy-only-cpu9":     "CPUids 9 are not allowed by policy",
	"policy-create-parent-policy-only-br-bad":   "bridges service not allowed by policy",
	"policy-create-parent-policy-only-br-bad2":  "bridges y, x not allowed by policy",
	"policy-create-parent-policy-only-br-dup":   "bridges y, y not allowed by policy",
	"policy-create-parent-policy-only-all-bad":  "maximum allowed memory (256, used 0) would be exceeded (requesting 9999)",
	"policy-create-parent-not-checked":          "maximum amount of unikernels (1) reached",
	"policy-create-parent-mem-not-checked":      "maximum allowed memory (64, used 64) would be exceeded (requesting 64)",
	"policy-create-parent-policy-only-cpus-bad": "CPUids 8, 9 are not allowed by policy",
	// A unikernel needs memory, and a block device needs a size.
	"policy-create-nopolicy-mem0":           "cannot run with 0 MB of memory",
	"policy-create-root-policy-mem0":        "cannot run with 0 MB of memory",
	"policy-create-a-policy-mem0":           "cannot run with 0 MB of memory",
	"policy-create-parent-policy-only-mem0": "cannot run with 0 MB of memory",
	"policy-create-nopolicy-mem-1":          "cannot run with -1 MB of memory",
	"policy-create-a-policy-mem-1":          "cannot run with -1 MB of memory",
	"policy-insert-block-zero":              "cannot make a block device of 0 MB: 1 is the smallest",
	// One unikernel, too, may use a device only once.
	"policy-block-twice": "block device :disk already in use",
	// The name is checked first, and the text is what native clients read from the daemon.
	"policy-create-same-name":              "Unikernel with same name is already running",
	"policy-create-same-name-over":         "Unikernel with same name is already running",
	"policy-create-same-name-block":        "Unikernel with same name is already running",
	"policy-insert-block-exists":           "block device with same name already exists",
	"policy-insert-block-exists-path":      "block device with same name already exists",
	"policy-insert-block-exists-and-limit": "block device with same name already exists",
	// The daemon checks what a client checks.
	"policy-policy-subsub-cnone":          "Unusable policy with no CPUids",
	"policy-policy-replace-self-cnone":    "Unusable policy with no CPUids",
	"policy-policy-root-with-child-cnone": "Unusable policy with no CPUids",
	"policy-policy-running-cnone":         "Unusable policy with no CPUids",
	"policy-policy-unusable-not-checked":  "Unusable policy with no unikernels",
	"policy-policy-negative-block":        "Unusable policy with block -1 MB < 0 MB",
	// a:x is at the path a:, and :a is not.
	"policy-create-counted-at-path-of-name": "ok",
}

func TestNativeVectors(t *testing.T) {
	for _, v := range vectors.LoadAs[vector](t, "policy") {
		result, known := v.Results["2.7.2"]
		if !known {
			continue
		}
		got, asked := v.ask(t)
		if !asked {
			continue
		}
		if ours, ok := differences[v.ID]; ok {
			result = ours
		}
		require.Equal(t, result, got, v.ID)
	}
}

func (v vector) ask(t *testing.T) (string, bool) {
	switch v.Op {
	case "is_smaller":
		return said(smaller(normal(v.Super.policy()), normal(v.Sub.policy()))), true
	case "usable":
		return said(usable(v.Policy.policy())), true
	case "scenario":
		l := New()
		for _, s := range v.Setup {
			s.hold(t, l)
		}
		return v.Query.ask(t, l)
	}
	return "", false // a client asks itself this before it signs
}

func (s step) hold(t *testing.T, l *Ledger) {
	n := s.name(t)
	switch s.Do {
	case "insert_policy":
		l.HoldPolicy(n.Path, s.Policy.policy())
	case "insert_unikernel":
		l.Hold(n, s.Config.arguments())
	case "insert_block":
		l.HoldDevice(n, s.Size)
	case "remove_policy":
		l.DropPolicy(n.Path)
	case "remove_unikernel":
		l.Release(n)
	case "remove_block":
		l.DropDevice(n)
	default:
		require.FailNow(t, "unknown step", s.Do)
	}
}

func (s step) ask(t *testing.T, l *Ledger) (string, bool) {
	n := s.name(t)
	switch s.Do {
	case "insert_policy":
		_, err := l.ProposePolicy(n.Path, s.Policy.policy())
		return said(err), true
	case "check_unikernel":
		return said(l.Reserve(n, s.Config.arguments())), true
	case "insert_block":
		return said(l.ReserveDevice(n, s.Size)), true
	case "remove_policy":
		if _, ok := l.Policy(n.Path); !ok {
			return "unknown policy", true
		}
		return "ok", true
	case "list":
		return s.list(n, l), s.What != "unikernels"
	}
	return "", false // the host answers this: it knows the unikernels, and whether a device exists
}

func (s step) list(n messages.Name, l *Ledger) string {
	var words []string
	switch s.What {
	case "policies":
		for _, p := range l.Policies(n) {
			words = append(words, p.Name.String())
		}
	case "blocks":
		for _, b := range l.Blocks(n) {
			words = append(words, b.Name.String())
		}
	}
	return "ok " + strings.Join(words, " ")
}

func said(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// A State is the contents of the state file of a native daemon: what should run, and the
// policies.
type State struct {
	// Choice is the form of the file: its tag.
	Choice int
	// Unikernels have images, which are slices of the file. Files of 2.5 and before may
	// contain two names that differ in case only and become equal here: the importer must
	// decide.
	Unikernels []messages.NamedConfig
	// Policies belong to the paths of their names; native ignores a label.
	Policies []messages.NamedPolicy
}

// The forms of a state file that we write. All can be read.
const (
	StateUntil25 = 4 // understood by 2.5 and before, and by all later versions
	StateSince27 = 6 // the current form
)

var errDuplicate = errors.New("it is there twice")

// OldestState returns a state in the oldest form that expresses all of it, so that as
// many versions of the daemon as possible can continue from it.
func OldestState(unikernels []messages.NamedConfig, policies []messages.NamedPolicy) State {
	s := State{Choice: StateUntil25, Unikernels: unikernels, Policies: policies}
	for _, u := range unikernels {
		if novelty(&u.Config.Arguments) > 0 || u.Config.Type != messages.Solo5 {
			s.Choice = StateSince27
		}
	}
	return s
}

// DecodeState decodes a state file. Its lists are in native's order: what is at a path
// before what is below it, labels ascending.
func DecodeState(file []byte) (State, error) {
	d := newDecoder(file)
	s := d.state()
	if err := d.finish("state"); err != nil {
		return State{}, err
	}
	slices.SortStableFunc(s.Unikernels, func(a, b messages.NamedConfig) int { return compareNames(a.Name, b.Name) })
	slices.SortStableFunc(s.Policies, func(a, b messages.NamedPolicy) int { return compareNames(a.Name, b.Name) })
	return s, nil
}

// AppendState appends a state file to dst: in the form StateUntil25 if the state has it,
// else in the current form.
func AppendState(dst []byte, s State) ([]byte, error) {
	if s.Choice != StateUntil25 {
		s.Choice = StateSince27
	}
	e := newEncoder(messages.CurrentVersion)
	e.state(&s)
	if err := e.startWriting(dst); err != nil {
		return dst, err
	}
	e.state(&s)
	return e.out, nil
}

// State ::= CHOICE {
//   [0] Unikernels of Config1, [1] of Config0, [2] of Config2, [3] of Config3,
//   [4] SEQUENCE { Unikernels of Config3, Policies },
//   [5] SEQUENCE { Unikernels of Config4, Policies },
//   [6] SEQUENCE { Unikernels of Config5, Policies },
//   [7] NULL (reserved) }
// Unikernels ::= SEQUENCE OF SEQUENCE { name Str, Config }
// Policies ::= SEQUENCE OF SEQUENCE { name Str, Policy }

// stateForms are the forms of configurations in a state file, by its tag.
var stateForms = [...]int{1, 0, 2, 3, 3, 4, 5}

func (d *decoder) state() (s State) {
	d.choice("state", func(tag int) {
		if tag >= len(stateForms) {
			d.unknown(tag)
			return
		}
		s.Choice = tag
		if tag < 4 {
			s.Unikernels = d.unikernels(stateForms[tag])
			return
		}
		d.seq("state", func() {
			s.Unikernels = d.unikernels(stateForms[tag])
			s.Policies = d.policies()
		})
	})
	return s
}

func (e *encoder) state(s *State) {
	form := stateForms[s.Choice]
	e.explicit(s.Choice, func() {
		e.seq(func() {
			e.seqOf(len(s.Unikernels), func(i int) {
				e.seq(func() {
					e.nameText(s.Unikernels[i].Name)
					e.config(form, &s.Unikernels[i].Config)
				})
			})
			e.seqOf(len(s.Policies), func(i int) { e.namedPolicy(s.Policies[i]) })
		})
	})
}

func (d *decoder) unikernels(form int) []messages.NamedConfig {
	keys := keySet{}
	return list(d, "unikernels", asn1.SEQUENCE, func() (u messages.NamedConfig) {
		d.seq("unikernel", func() {
			u.Name = d.key(keys)
			if form == 0 {
				u.Config = d.config0()
			} else {
				u.Config = d.config(form)
			}
		})
		return u
	})
}

func (d *decoder) policies() []messages.NamedPolicy {
	keys := keySet{}
	return list(d, "policies", asn1.SEQUENCE, func() (p messages.NamedPolicy) {
		d.seq("policy", func() {
			p.Name = d.key(keys)
			p.Policy = d.policy()
		})
		return p
	})
}

// A keySet holds the nodes of names: "a:b" and "a:b:" are the same node, and a file with
// a node twice crashes native.
type keySet map[string]struct{}

// key reads a name as the key of a list without duplicates.
func (d *decoder) key(keys keySet) messages.Name {
	text := d.str("name")
	if d.err != nil {
		return messages.Name{}
	}
	n, err := messages.ParseName(text)
	if err != nil {
		d.fail("name", fmt.Errorf("%q: %w", text, err))
		return messages.Name{}
	}
	node := strings.Trim(text, ":")
	if _, ok := keys[node]; ok {
		d.fail("name", fmt.Errorf("%q: %w", text, errDuplicate))
	}
	keys[node] = struct{}{}
	return n
}

// Config0 ::= SEQUENCE { cpu Int, memory Int, block Str OPTIONAL,
//   nets SEQUENCE OF Str OPTIONAL,
//   image CHOICE { [0] Bytes, [1] Bytes, [2] Bytes (compressed) },
//   argv SEQUENCE OF Str OPTIONAL }
//
// It is only read: no version of native writes it any more.

func (d *decoder) config0() messages.Config {
	c := messages.Config{Arguments: defaultArguments()}
	d.seq("configuration", func() {
		c.CPUIDs = []int{d.int("cpu")}
		c.Memory = d.int("memory")
		if d.at(asn1.UTF8String) {
			c.Blocks = []messages.BlockDevice{{Name: d.str("block")}}
		}
		if d.at(asn1.SEQUENCE) {
			c.Networks = list(d, "networks", asn1.SEQUENCE, func() messages.Network {
				return messages.Network{Name: d.str("network")}
			})
		}
		c.Compressed, c.Image = d.image0()
		if d.at(asn1.SEQUENCE) {
			c.Argv = messages.Some(d.strs("argv"))
		}
	})
	return c
}

// image0 reads an image; its former processor type no longer matters.
func (d *decoder) image0() (compressed bool, image []byte) {
	d.choice("image", func(tag int) {
		if tag > 2 {
			d.unknown(tag)
		}
		compressed = tag == 2
		image = d.octets("image")
	})
	return compressed, image
}

// compareNames orders names as native's trie does.
func compareNames(a, b messages.Name) int {
	return slices.Compare(steps(a), steps(b))
}

// steps returns the labels of a name, its own included.
func steps(n messages.Name) []messages.Label {
	if n.IsPath() {
		return n.Path.Labels()
	}
	return n.Path.Append(n.Label).Labels()
}

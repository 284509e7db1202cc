package messages

import "math"

// MaxInt is the largest number in the wire protocol: native integers have 63 bits. The
// root policy uses it for "unlimited".
const MaxInt = math.MaxInt64 >> 1

// MinInt is the smallest number in the wire protocol.
const MinInt = -MaxInt - 1

// A Policy limits what may run at and below a path.
type Policy struct {
	Unikernels int         `cbor:"1,keyasint"`           // how many may run
	CPUIDs     []int       `cbor:"2,keyasint,omitempty"` // which CPUs they may use; a set
	Memory     int         `cbor:"3,keyasint"`           // MB of memory for all of them
	Block      Option[int] `cbor:"4,keyasint,omitzero"`  // MB of block devices for all; absent: none allowed
	Bridges    []string    `cbor:"5,keyasint,omitempty"` // which bridges their taps may be attached to; a set
	// Damaged: its record was damaged on disk, and it allows nothing.
	Damaged bool `cbor:"6,keyasint,omitempty"`
	// Owner is not in native messages: there a policy keeps the one that it has.
	Owner Owner `cbor:"7,keyasint,omitempty"`
}

// AllowsNothing reports whether nobody can run or keep anything below the policy. Front
// ends use such a policy for a user who has been given nothing.
func (p Policy) AllowsNothing() bool {
	noUnikernel := p.Unikernels == 0 || len(p.CPUIDs) == 0 || p.Memory == 0
	return noUnikernel && p.Block.Or(0) == 0
}

// A NamedPolicy is a policy and its path.
type NamedPolicy struct {
	Name   Name
	Policy Policy
}

// PolicyUnchanged answers a PolicyAdd of an existing policy.
const PolicyUnchanged = "no modification of policy"

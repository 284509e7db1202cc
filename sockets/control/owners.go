package control

import (
	"errors"
	"io"

	"albatross/messages"
)

// policy is a policy that has an owner. Its numbers are those of the native message.
type policy struct {
	Unikernels int      `cbor:"1,keyasint"`
	Memory     int      `cbor:"2,keyasint"` // MB
	CPUs       []int    `cbor:"3,keyasint,omitempty"`
	Block      *int     `cbor:"4,keyasint,omitempty"` // MB
	Bridges    []string `cbor:"5,keyasint,omitempty"`
}

func fromPolicy(p messages.Policy) policy {
	item := policy{Unikernels: p.Unikernels, Memory: p.Memory, CPUs: p.CPUIDs, Bridges: p.Bridges}
	if p.Block.OK {
		item.Block = &p.Block.Value
	}
	return item
}

func (p policy) message(owner messages.Owner) (messages.PolicyDeploy, error) {
	m := messages.Policy{Unikernels: p.Unikernels, Memory: p.Memory, CPUIDs: p.CPUs, Bridges: p.Bridges, Owner: owner}
	if p.Block != nil {
		m.Block = messages.Some(*p.Block)
	}
	for _, b := range p.Bridges {
		if err := messages.CheckInterface(b); err != nil {
			return messages.PolicyDeploy{}, err
		}
	}
	for _, n := range append([]int{p.Unikernels, p.Memory, m.Block.Value}, p.CPUs...) {
		if n < 0 || n > messages.MaxInt {
			return messages.PolicyDeploy{}, errors.New("a number in the policy is out of range")
		}
	}
	return messages.PolicyDeploy{Policy: m}, owner.Check()
}

// owned is something that has an owner.
type owned struct {
	Name  string `cbor:"1,keyasint"`
	Kind  string `cbor:"2,keyasint"`
	Owner string `cbor:"3,keyasint"`
}

func appendOwners(dst []byte, list []messages.Owned) (_ []byte, err error) {
	for _, o := range list {
		if dst, err = appendItem(dst, owned{o.Name.String(), string(o.Kind), string(o.Owner)}); err != nil {
			return dst, err
		}
	}
	return append(dst, all...), nil
}

// ReadOwners reads the answer to a request for owners: a messages.SuccessOwners, or a
// messages.Failure. Errors are those of ReadAnswer.
func ReadOwners(r io.Reader) (messages.Payload, error) {
	list, failure, err := readList(r, maxList, MaxItem, readOwned)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	return messages.SuccessOwners{List: list}, nil
}

func readOwned(b []byte) (m messages.Owned, err error) {
	var o owned
	if err := decMode.Unmarshal(b, &o); err != nil {
		return m, err
	}
	m.Kind, m.Owner = messages.Kind(o.Kind), messages.Owner(o.Owner) // kinds of newer daemons, too
	if m.Name, err = messages.ParseName(o.Name); err != nil {
		return m, err
	}
	return m, m.Owner.Check()
}

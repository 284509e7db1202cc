package messages

import (
	"errors"
	"fmt"
	"strings"
)

// An Owner names who looks after something: the file that 'apply' has made it from. It protects
// nothing, but keeps two files from changing the same thing, and says what one of them has left
// behind. Empty: nobody has claimed it.
type Owner string

// maxOwner bounds an Owner, in bytes.
const maxOwner = 64

var errOwner = fmt.Errorf("an owner is 1 to %d letters, digits and characters of '.-_@/'", maxOwner)

// ParseOwner parses the text of an owner.
func ParseOwner(s string) (Owner, error) {
	if s == "" {
		return "", errOwner
	}
	return Owner(s), Owner(s).Check()
}

// Check refuses what is no owner. Empty is one.
func (o Owner) Check() error {
	allowed := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_@/", r)
	}
	if len(o) > maxOwner || strings.ContainsFunc(string(o), func(r rune) bool { return !allowed(r) }) {
		return errOwner
	}
	return nil
}

// CheckTaken returns why an owner cannot change what another one has. Nobody may change anything:
// it keeps its owner.
func (o Owner) CheckTaken(by Owner) error {
	if o == "" || by == "" || o == by {
		return nil
	}
	return fmt.Errorf("it belongs to the owner %s, and not to %s: give %[1]s as the owner, or remove it first", o, by)
}

// Or returns the owner, or another one if there is none.
func (o Owner) Or(other Owner) Owner {
	if o == "" {
		return other
	}
	return o
}

// A Kind is a kind of things that have owners, in the word that is sent.
type Kind string

// The kinds.
const (
	KindUnikernel Kind = "unikernel"
	KindNetwork   Kind = "network"
	KindBlock     Kind = "block"
	KindPolicy    Kind = "policy" // the name is that of its path
)

// ParseKind parses a kind.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case KindUnikernel, KindNetwork, KindBlock, KindPolicy:
		return k, nil
	}
	return "", errors.New("there are owners of unikernels, networks, block devices and policies only")
}

// An Owned is something that has an owner.
type Owned struct {
	Kind  Kind
	Name  Name
	Owner Owner
}

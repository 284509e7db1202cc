package messages

import (
	"errors"
	"strings"
)

// maxOrigin bounds the length of an origin, in bytes.
const maxOrigin = 512

// An Origin is where an image is from: a reference to a registry, with the digest that was found
// there, as oci://REGISTRY/REPOSITORY:TAG@sha256:DIGEST. What runs is known by its own digest: the
// origin is for people, and for programs that look for something newer.
type Origin string

// ParseOrigin checks an origin.
func ParseOrigin(s string) (Origin, error) { return Origin(s), Origin(s).Usable() }

// Usable returns why it is no origin. The texts are for clients.
func (o Origin) Usable() error {
	_, digest, _ := strings.Cut(string(o), "@sha256:")
	switch {
	case len(o) > maxOrigin:
		return errors.New("cannot note where the image is from: that is too long")
	case !strings.HasPrefix(string(o), "oci://"), len(digest) != 64, strings.Trim(digest, "0123456789abcdef") != "",
		strings.ContainsFunc(string(o), func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("cannot note where the image is from: oci://REGISTRY/REPOSITORY@sha256:DIGEST is expected")
	}
	return nil
}

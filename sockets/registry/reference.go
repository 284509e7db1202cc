package registry

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Scheme begins every reference.
const Scheme = "oci://"

// defaultTag is the tag of a reference that has neither a tag nor a digest.
const defaultTag = "latest"

// maxReference bounds the length of a reference without its digest, in bytes.
const maxReference = 400

// A Reference names an image in a registry: by a tag, which may be moved to another image, or by a
// digest, which never is. One that has both means the digest; the tag says where that came from.
type Reference struct {
	Registry   string // HOST[:PORT]
	Repository string
	Tag        string
	Digest     string // sha256:…
}

// IsReference reports whether a text is meant as a reference.
func IsReference(text string) bool { return strings.HasPrefix(text, Scheme) }

// ParseReference parses oci://REGISTRY/REPOSITORY[:TAG][@DIGEST].
func ParseReference(text string) (Reference, error) {
	r, err := parse(text)
	if err != nil {
		return Reference{}, err
	}
	if r.Repository == "" {
		return Reference{}, badReference("it has no repository")
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	return r, nil
}

// ParsePlace parses oci://REGISTRY[/REPOSITORY], which names no single image.
func ParsePlace(text string) (Reference, error) {
	r, err := parse(text)
	if err == nil && (r.Tag != "" || r.Digest != "") {
		err = badReference("give it without a tag or digest")
	}
	return r, err
}

func parse(text string) (r Reference, err error) {
	rest, ok := strings.CutPrefix(text, Scheme)
	if !ok {
		return r, badReference("oci://REGISTRY/REPOSITORY[:TAG|@DIGEST] is expected")
	}
	rest, r.Digest, ok = strings.Cut(rest, "@")
	if len(rest) > maxReference {
		return r, badReference("it is too long")
	}
	if ok && r.Digest == "" {
		return r, badReference("its digest is empty")
	}
	r.Registry, r.Repository, _ = strings.Cut(rest, "/")
	if i := strings.LastIndexByte(r.Repository, ':'); i >= 0 {
		r.Repository, r.Tag = r.Repository[:i], r.Repository[i+1:]
		if r.Tag == "" {
			return r, badReference("its tag is empty")
		}
	}
	return r, r.check()
}

// check refuses what no registry knows.
func (r Reference) check() error {
	if !isHost(r.Registry) {
		return badReference("it begins with the host of a registry, such as registry.example.org, or localhost:5000")
	}
	if _, err := name.NewRegistry(r.Registry, name.StrictValidation); err != nil {
		return badReference("its host is no host")
	}
	if r.Repository == "" {
		return nil
	}
	if _, err := name.NewRepository(r.Registry+"/"+r.Repository, name.StrictValidation); err != nil || !repositories.MatchString(r.Repository) {
		return badReference("a repository consists of lower-case letters, digits, and . _ - / between them")
	}
	if r.Tag != "" {
		if _, err := name.NewTag(r.Registry+"/"+r.Repository+":"+r.Tag, name.StrictValidation); err != nil {
			return badReference("a tag consists of at most 128 letters, digits, and . _ -")
		}
	}
	if r.Digest != "" && !isDigest(r.Digest) {
		return badReference("a digest is sha256: and 64 hexadecimal digits")
	}
	return nil
}

// repositories matches the names that the OCI's specification allows. The library takes more, such as
// a part that is "..".
var repositories = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// isHost reports whether the first part of a reference is a host, rather than the first part of a
// repository in a registry that is not named.
func isHost(s string) bool { return s == "localhost" || strings.ContainsAny(s, ".:") }

func isDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

func badReference(why string) error {
	return fmt.Errorf("cannot use the reference: %w", errors.New(why))
}

// String returns the reference as ParseReference reads it.
func (r Reference) String() string {
	text := Scheme + r.Registry
	if r.Repository != "" {
		text += "/" + r.Repository
	}
	if r.Tag != "" {
		text += ":" + r.Tag
	}
	if r.Digest != "" {
		text += "@" + r.Digest
	}
	return text
}

// At returns the reference with a digest.
func (r Reference) At(digest string) Reference {
	r.Digest = digest
	return r
}

// identifier is how the registry knows the image.
func (r Reference) identifier() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.Tag
}

// isLoopback reports whether a host is this machine, by its name or address.
func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

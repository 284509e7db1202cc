package messages

import (
	"bytes"
	"slices"
	"time"
)

// MaxPast is how many former versions of a unikernel may stay on record, with their images: each write
// of the record writes them, too. DefaultPast is how many stay unless somebody chooses.
const (
	MaxPast     = 100
	DefaultPast = 5
)

// A Past is a former version of a unikernel: what ran under its name before it was replaced.
type Past struct {
	Spec        Spec   `cbor:"1,keyasint"` // without a former, and without its own past
	UntilMillis int64  `cbor:"2,keyasint"` // Unix time
	Cause       Public `cbor:"3,keyasint,omitempty"`
}

// Succeeding returns the same, with the past of what it replaces, and that itself if it is another
// version: at most so many.
func (s Spec) Succeeding(former Spec, at time.Time, cause Public, most int) Spec {
	version := former.ToRun()
	version.Past = nil
	past := append([]Past{{Spec: version, UntilMillis: at.UnixMilli(), Cause: cutCause(cause)}}, former.Past...)
	past = slices.DeleteFunc(past, func(p Past) bool { return p.Spec.sameVersion(s) })
	s.Past = slices.Clip(past[:min(len(past), most)])
	return s
}

// sameVersion reports whether both run the same image in the same way.
func (s Spec) sameVersion(other Spec) bool {
	a, err := Encode(s.Arguments)
	b, otherErr := Encode(other.Arguments)
	return s.Digest == other.Digest && err == nil && otherErr == nil && bytes.Equal(a, b)
}

// A FormerVersion is what clients are told of a former version. The arguments may be secrets.
type FormerVersion struct {
	Digest Digest
	Memory int       // MB
	Until  time.Time // when it was replaced
	Cause  Public    // why
}

// Version returns what clients are told of it.
func (p Past) Version() FormerVersion {
	return FormerVersion{Digest: p.Spec.Digest, Memory: p.Spec.Arguments.Memory, Until: time.UnixMilli(p.UntilMillis).UTC(), Cause: p.Cause}
}

package messages

import (
	"bytes"
	"slices"
	"strings"
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
	// Exit is how it had ended before it was replaced; absent: it ran until then.
	Exit Option[Exit] `cbor:"4,keyasint,omitzero"`
}

// An Asker is who has given a command.
type Asker struct {
	UID uint32 `cbor:"1,keyasint"` // of the process that has connected
	// For is on whose behalf that has said that it asks, such as the client of an endpoint: text of at
	// most MaxFor bytes. Empty: on its own.
	For string `cbor:"2,keyasint,omitempty"`
}

// MaxFor bounds Asker.For, in bytes.
const MaxFor = 200

// CutFor returns valid text of at most MaxFor bytes, for Asker.For.
func CutFor(s string) string {
	const long = "…"
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxFor {
		return s
	}
	return strings.ToValidUTF8(s[:MaxFor-len(long)], "") + long
}

// Succeeding returns the same, with the past of what it replaces, and that itself if it is another
// version: at most so many. Exit is how it had ended before, if it had.
func (s Spec) Succeeding(former Spec, at time.Time, cause Public, exit Option[Exit], most int) Spec {
	version := former.ToRun()
	version.Past = nil
	past := append([]Past{{Spec: version, UntilMillis: at.UnixMilli(), Cause: cutCause(cause), Exit: exit}}, former.Past...)
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
	Until  time.Time // when it was replaced; zero: it was not
	Cause  Public    // why
	By     Option[Asker]
	Exit   Option[Exit] // see Past
	Origin Option[Origin]
}

// Version returns what clients are told of it.
func (p Past) Version() FormerVersion {
	v := p.Spec.Version()
	v.Until, v.Cause, v.Exit = time.UnixMilli(p.UntilMillis).UTC(), p.Cause, p.Exit
	return v
}

// Version returns what clients are told of a version that was not replaced.
func (s Spec) Version() FormerVersion {
	return FormerVersion{Digest: s.Digest, Memory: s.Arguments.Memory, By: s.By, Origin: s.Arguments.Origin}
}

// Package events translates between the protocol of the socket of events and the
// values of package messages. This is what native albatross has no message for:
// so far, how the last runs of unikernels ended. Like package wire it decides
// nothing.
//
// # Flow
//
// A client connects, writes one request, reads the answer, and the connection is
// closed. Both directions are CBOR sequences (RFC 8742) of maps whose keys are
// integers. In CDDL (RFC 8610):
//
//	request = {
//	  1: 1,          ; version
//	  2: "ends",     ; what is asked for
//	  ? 3: tstr,     ; a name, as on command lines, or with ':' at its end all at
//	                 ; and below a path; ":" is everything, also if it is absent
//	}
//
//	answer  = (* end, all) / failure
//	end     = {
//	  1: tstr,       ; name, relative to the path that was asked for
//	  ? 2: int,      ; exit code
//	  ? 3: int,      ; or the signal that killed it; neither: nobody saw how it ended
//	  ? 4: tdate,    ; when, in UTC and to the millisecond; absent: nobody knows
//	  5: uint,       ; how often it had been started again by then
//	}
//	all     = {}     ; that was all: an answer without it has been cut off
//	failure = {0: tstr}
//
// Keys that are not known are ignored, on both sides, so that new ones can be
// added. What changes the meaning of those that are there needs a new version.
//
// # Limits
//
// An item has at most MaxItem bytes, lengths are definite, and nesting is
// limited. What is written is deterministic (RFC 8949 section 4.2).
//
// # Reading the source
//
//	item.go     where an item ends
//	request.go  what clients ask for
//	answer.go   what they are told
package events

import "github.com/fxamacker/cbor/v2"

const (
	// Version is the version of requests that is known here.
	Version = 1

	// MaxItem is the size in bytes of the largest item, in either direction.
	MaxItem = 4 << 10

	// maxNesting is more than anything has that is known here.
	maxNesting = 8
)

var (
	encMode = mustMode(cbor.EncOptions{
		Sort:    cbor.SortCoreDeterministic,
		Time:    cbor.TimeRFC3339NanoUTC,
		TimeTag: cbor.EncTagRequired,
	}.EncMode())
	decMode = mustMode(cbor.DecOptions{
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		IndefLength:     cbor.IndefLengthForbidden,
		MaxNestedLevels: maxNesting,
		TimeTag:         cbor.DecTagRequired,
	}.DecMode())
)

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic("internal error: cannot set up CBOR: " + err.Error())
	}
	return m
}

// appendItem appends an item to dst.
func appendItem(dst []byte, item any) ([]byte, error) {
	b, err := encMode.Marshal(item)
	return append(dst, b...), err
}
